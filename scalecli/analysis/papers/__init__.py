"""What the two papers print, where that is not what it seems, and computed figures beside it."""
