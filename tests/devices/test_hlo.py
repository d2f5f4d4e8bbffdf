"""What is read from a program's text: here from short ones in the form that libtpu's compiler writes."""

import pytest

from scalecli.devices.hlo import work

LOOP = """HloModule step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %add = f32[]{:T(128)} add(%a, %b)
}

%product (p: bf16[8,16], q: bf16[16,4]) -> bf16[8,4] {
  %p = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %q = bf16[16,4]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %convolution.1 = bf16[8,4]{1,0:T(8,128)(2,1)} convolution(%p, %q), dim_labels=bf_io->bf
}

%body (carry: (s32[], bf16[8,16], bf16[16,4], s32[])) -> (s32[], bf16[8,16], bf16[16,4], s32[]) {
  %carry = (s32[]{:T(128)}, bf16[8,16]{1,0}, bf16[16,4]{1,0}, /*index=3*/s32[]{:T(128)}) parameter(0)
  %x = bf16[8,16]{1,0} get-tuple-element(%carry), index=1
  %w = bf16[16,4]{1,0} get-tuple-element(%carry), index=2
  %fusion = bf16[8,4]{1,0} fusion(%x, %w), kind=kOutput, calls=%product
  %all-reduce = bf16[8,4]{1,0} all-reduce(%fusion), replica_groups={{0,1}}, to_apply=%sum
  ROOT %tuple = (s32[], bf16[8,16], bf16[16,4], s32[]) tuple(%x, %x, %w, %x)
}

%condition (carry: (s32[], bf16[8,16], bf16[16,4], s32[])) -> pred[] {
  %carry.1 = (s32[]{:T(128)}, bf16[8,16]{1,0}, bf16[16,4]{1,0}, /*index=3*/s32[]{:T(128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%carry.1), index=0
  BOUND
  ROOT %compare = pred[]{:T(512)} compare(%i, %n), direction=LT
}

ENTRY %main (x: bf16[8,16], w: bf16[16,4]) -> bf16[8,16] {
  %x.1 = bf16[8,16]{1,0} parameter(0), metadata={op_name="x (first)"}
  %w.1 = bf16[16,4]{1,0} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %five = s32[]{:T(128)} constant(5)
  %copy = s32[]{:T(128)} copy(%five)
  %start = (s32[], bf16[8,16], bf16[16,4], s32[]) tuple(%zero, %x.1, %w.1, %copy)
  %while = (s32[], bf16[8,16], bf16[16,4], s32[]) while(%start), condition=%condition, body=%body
  %ended = s32[]{:T(128)} get-tuple-element(%while), index=0
  %again = (s32[], bf16[8,16], bf16[16,4], s32[]) tuple(%zero, %x.1, %w.1, %ended)
  %while.1 = (s32[], bf16[8,16], bf16[16,4], s32[]) while(%again), condition=%condition, body=%body
  ROOT %result = bf16[8,16]{1,0} get-tuple-element(%while.1), index=1
}
"""
CONSTANT = "%n = s32[]{:T(128)} constant(3)"
CARRIED = "%n = s32[]{:T(128)} get-tuple-element(%carry.1), index=3"  # 5, and then where the first loop has ended
UNKNOWN = "%n = s32[]{:T(128)} negate(%i)"


@pytest.mark.parametrize(("bound", "runs", "unknown"), [(CONSTANT, 6, 0), (CARRIED, 10, 0), (UNKNOWN, 2, 2)])
def test_a_loops_body_counts_as_often_as_it_runs(bound, runs, unknown):
    found = work(LOOP.replace("BOUND", bound))
    assert found.flops == runs * 2 * 8 * 16 * 4
    assert found.collectives == {"all-reduce": runs}
    assert found.collective_bytes == {"all-reduce": runs * 8 * 4 * 2}
    assert found.unknown_loops == unknown


def entry(*lines):
    return "HloModule one\n\nENTRY %main () -> f32[] {\n" + "\n".join(f"  {line}" for line in lines) + "\n}\n"


@pytest.mark.parametrize(
    ("shapes", "attributes", "multiply_adds"),
    [
        (("f32[4,8]", "f32[8,6]", "f32[4,6]"), "dim_labels=bf_io->bf", 4 * 8 * 6),
        # A batch of two products as XLA for TPUs writes it: each position of the window meets one of the input.
        (
            ("f32[2,4,8]", "f32[2,8,6]", "f32[2,4,6]"),
            "window={size=2 stride=1 lhs_dilate=2}, dim_labels=0bf_0io->0bf",
            2 * 4 * 8 * 6,
        ),
        (
            ("f32[5,1,4]", "f32[8,4,6]", "f32[8,5,6]"),
            "window={size=8 pad=7_7 rhs_reversal=1}, dim_labels=b0f_0io->0bf",
            8 * 5 * 4 * 6,
        ),
        # A true convolution of seven taps over five positions: 3 + 2 + 1 taps at each end meet padding.
        (
            ("f32[2,5,4]", "f32[7,4,6]", "f32[2,5,6]"),
            "window={size=7 pad=3_3}, dim_labels=b0f_0io->b0f",
            2 * 4 * 6 * (4 + 5 + 5 + 5 + 4),
        ),
        (
            ("f32[3,4,8]", "f32[3,8,6]", "f32[3,4,6]"),
            "lhs_contracting_dims={2}, rhs_contracting_dims={1}",
            3 * 4 * 8 * 6,
        ),
    ],
)
def test_products_are_counted_without_padding(shapes, attributes, multiply_adds):
    kind = "dot" if "contracting" in attributes else "convolution"
    lines = [f"%{name} = {shape}{{}} parameter(0)" for name, shape in zip("ab", shapes, strict=False)]
    assert work(entry(*lines, f"ROOT %c = {shapes[2]}{{}} {kind}(%a, %b), {attributes}")).flops == 2 * multiply_adds


@pytest.mark.parametrize(
    ("kind", "taken", "given", "moved"),
    [
        ("all-reduce", "f32[8,4]", "f32[8,4]", 128),
        ("all-reduce-start", "f32[8,4]", "f32[8,4]", 128),
        ("all-gather", "bf16[8]", "bf16[32]", 64),
        ("all-gather-start", "bf16[8]", "(bf16[8], bf16[32])", 64),
        ("reduce-scatter", "s32[8]", "s32[2]", 32),
        ("collective-permute-start", "pred[8]", "(pred[8], pred[8], u32[], u32[])", 16),
        ("all-to-all", "f32[4]", "(f32[2], f32[2])", 16),
    ],
)
def test_a_collective_moves_the_larger_of_what_it_takes_and_gives(kind, taken, given, moved):
    name = kind.removesuffix("-start")
    found = work(entry(f"%x = {taken} parameter(0)", f"ROOT %y = {given} {kind}(%x), channel_id=1"))
    assert (found.collectives, found.collective_bytes) == ({name: 1}, {name: moved})
