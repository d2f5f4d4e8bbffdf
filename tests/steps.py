"""Training steps of a model on one device, for tests and benchmarks."""

from scalecli.devices import Request, open_devices
from scalecli.training.optimizers import new_optimizer
from scalecli.training.schedules import Schedule
from scalecli.training.steps import new_steps


def steps_of(model, rate, *, devices=None, seed=0, z_loss=1e-4, accumulation=1, optimizer="adafactor"):
    """The steps and their optimizer, with a constant rate; AdamW with a weight decay."""
    devices = devices or open_devices(Request("one"))
    schedule, decay = Schedule("constant", rate, 0, 1), 0.1 if optimizer == "adamw" else 0.0
    optimizer = devices.new_optimizer(lambda: new_optimizer(optimizer, schedule, decay), model)
    return new_steps(devices, model, optimizer, seed=seed, z_loss=z_loss, accumulation=accumulation), optimizer
