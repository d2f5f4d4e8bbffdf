"""The line of an error's message that says what is wrong."""

import pytest

from scalecli.errors import reason_of


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "Graph execution error:\n\nDetected at node ReadFile defined at (most recent call last):\n"
            "<stack traces unavailable>\n/none; No such file or directory\n\t [[{{node ReadFile}}]] [Op:__inference_h]",
            "/none; No such file or directory",
        ),
        (
            'Graph execution error:\n\nDetected at node "a" defined at (most recent call last):\n  File "x.py", line 1'
            ", in f\n\n2 root error(s) found.\n  (0) UNAVAILABLE:  Socket closed\n\t [[{{node a}}]]",
            "Socket closed",
        ),
        ("{{function_node __wrapped__ReadFile}} /a; No such file [Op:ReadFile]", "/a; No such file"),
        ("assertion failed: [too many] [Op:Assert]", "too many"),
        ("", "ValueError"),
    ],
)
def test_the_reason_of_an_error_is_what_is_wrong(message, reason):
    assert reason_of(ValueError(message)) == reason
