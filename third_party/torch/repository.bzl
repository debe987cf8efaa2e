"""LibTorch from its pinned PyPI wheel."""

_PLATFORMS = [
    "manylinux_2_28_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
]

def _libtorch_repository_impl(ctx):
    command = [
        ctx.which("python3"),
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version=3.11",
        "--require-hashes",
        "--requirement",
        str(ctx.path(ctx.attr.requirements)),
        "--dest",
        "wheels",
    ]
    for platform in _PLATFORMS:
        command.append("--platform=" + platform)
    ctx.report_progress("downloading LibTorch (540 MB)")
    result = ctx.execute(command, timeout = 3600)
    if result.return_code:
        fail("cannot download LibTorch: " + result.stderr)

    ctx.report_progress("unpacking LibTorch")
    unpack = ctx.execute([ctx.which("sh"), "-c", """
set -e
for wheel in wheels/*.whl; do
  unzip -q -o "$wheel" 'torch/lib/*' 'torch/include/*' 'nvidia/*/lib/*' || test $? = 11
done
rm -rf wheels
# An old Protobuf's headers, which would shadow the one we build with.
rm -rf torch/include/google
find nvidia -name 'libcudart.so.13' -exec mv {} torch/lib/ ';'
find nvidia -name 'libcupti.so.13' -exec mv {} torch/lib/ ';'
rm -rf nvidia
"""], timeout = 1200)
    if unpack.return_code:
        fail("cannot unpack LibTorch: " + unpack.stderr)
    ctx.symlink(ctx.attr.build_file, "BUILD")

libtorch_repository = repository_rule(
    implementation = _libtorch_repository_impl,
    doc = "Downloads and unpacks LibTorch, checked by the hashes in `requirements`.",
    attrs = {
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "build_file": attr.label(default = "//third_party/torch:libtorch.BUILD"),
    },
)
