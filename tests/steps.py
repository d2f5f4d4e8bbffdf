"""Training steps of a model on one device, for tests and benchmarks."""

from scalecli.devices import Request, open_devices
from scalecli.training.adafactor import Adafactor, KerasSchedule
from scalecli.training.schedules import Schedule
from scalecli.training.steps import new_steps


def steps_of(model, rate, *, devices=None, seed=0, z_loss=1e-4, accumulation=1):
    """The steps and their optimizer, Adafactor with a constant rate."""
    devices = devices or open_devices(Request("one"))
    optimizer = devices.new_optimizer(lambda: Adafactor(KerasSchedule(Schedule("constant", rate, 0, 1))), model)
    return new_steps(devices, model, optimizer, seed=seed, z_loss=z_loss, accumulation=accumulation), optimizer
