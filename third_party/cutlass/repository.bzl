"""CUTLASS and CuTe headers from the pinned PyPI wheel."""

load("//third_party/python:pip.bzl", "pip_download")

def _cutlass_repository_impl(ctx):
    pip_download(ctx, ctx.attr.requirements, "CUTLASS (6 MB)")
    unpack = ctx.execute([ctx.which("sh"), "-c", """
set -e
unzip -q wheels/*.whl 'cutlass_library/source/include/*'
mv cutlass_library/source/include .
rm -rf wheels cutlass_library
"""])
    if unpack.return_code:
        fail("cannot unpack CUTLASS: " + unpack.stderr)
    ctx.symlink(ctx.attr.build_file, "BUILD")

cutlass_repository = repository_rule(
    implementation = _cutlass_repository_impl,
    doc = "Downloads CUTLASS's headers, checked by the hash in `requirements`.",
    attrs = {
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "build_file": attr.label(default = "//third_party/cutlass:cutlass.BUILD"),
    },
)
