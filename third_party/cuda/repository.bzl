"""Finds an installed CUDA toolkit, if there is one."""

def _cuda_repository_impl(ctx):
    home = ctx.os.environ.get("CUDA_HOME", "")
    if not home:
        nvcc = ctx.which("nvcc")
        home = str(nvcc.dirname.dirname) if nvcc else "/usr/local/cuda"
    found = ctx.path(home + "/bin/nvcc").exists
    ctx.file("toolkit.bzl", "CUDA_HOME = \"%s\"\n" % (home if found else ""))
    ctx.file("BUILD", """
exports_files(["toolkit.bzl"])

# For C++ that calls the runtime: empty without a toolkit.
cc_library(
    name = "headers",
    hdrs = glob(["include/**"]),
    includes = ["include"],
    visibility = ["//visibility:public"],
)
""")
    if found:
        ctx.symlink(home + "/include", "include")

cuda_repository = repository_rule(
    implementation = _cuda_repository_impl,
    doc = "Writes toolkit.bzl with CUDA_HOME (the toolkit's folder, or empty) and :headers.",
    environ = ["CUDA_HOME", "PATH"],
    local = True,
)
