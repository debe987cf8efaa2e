"""LibTorch from its pinned PyPI wheel."""

load("//third_party/python:pip.bzl", "pip_download")

def _libtorch_repository_impl(ctx):
    pip_download(ctx, ctx.attr.requirements, "LibTorch (540 MB)")

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
