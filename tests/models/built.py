"""What every model must be that is built from a spec."""


def assert_built_as(spec, model):
    """The model's weights are the spec's, one by one."""
    assert model.count_params() == spec.parameters()
    assert len(model.weights_by_path()) == len(model.variables)
    for path, (layers, weight) in spec.weights().items():
        variable = model.weights_by_path()[path]
        assert tuple(variable.shape) == ((layers,) if layers else ()) + weight.shape
        assert variable.stacked == (layers > 0)
