"""A rule that compiles CUDA C++ with the installed toolkit's nvcc."""

load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")
load("@local_cuda//:toolkit.bzl", "CUDA_HOME")

# Hopper first; the PTX of the last one serves newer GPUs.
_ARCHITECTURES = [
    "-gencode=arch=compute_80,code=sm_80",
    "-gencode=arch=compute_90a,code=sm_90a",
    "-gencode=arch=compute_80,code=compute_80",
]

def _cuda_library_impl(ctx):
    if not CUDA_HOME:
        fail("no CUDA toolkit: install it, or set CUDA_HOME to its folder")
    headers = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps + [ctx.attr._headers]],
    ).compilation_context
    objects = []
    for source in ctx.files.srcs:
        output = ctx.actions.declare_file("%s.o" % source.basename)
        arguments = ctx.actions.args()
        arguments.add_all(["-c", "-O3", "-std=c++17", "-Xcompiler=-fPIC", "--expt-relaxed-constexpr"])
        arguments.add_all(_ARCHITECTURES)
        arguments.add_all(ctx.attr.copts)
        arguments.add_all(headers.defines, before_each = "-D")
        arguments.add_all([".", ctx.bin_dir.path], before_each = "-I")
        arguments.add_all(headers.includes, before_each = "-I")
        arguments.add_all(headers.quote_includes, before_each = "-I")
        arguments.add_all(headers.system_includes, before_each = "-isystem")
        arguments.add_all(["-o", output, source])
        ctx.actions.run(
            executable = CUDA_HOME + "/bin/nvcc",
            arguments = [arguments],
            inputs = depset([source] + ctx.files.hdrs, transitive = [headers.headers]),
            outputs = [output],
            mnemonic = "CudaCompile",
            progress_message = "Compiling %s with nvcc" % source.short_path,
            use_default_shell_env = True,
        )
        objects.append(output)

    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    linking_context, _ = cc_common.create_linking_context_from_compilation_outputs(
        actions = ctx.actions,
        name = ctx.label.name,
        feature_configuration = features,
        cc_toolchain = toolchain,
        compilation_outputs = cc_common.create_compilation_outputs(
            objects = depset(objects),
            pic_objects = depset(objects),
        ),
        linking_contexts = [dep[CcInfo].linking_context for dep in ctx.attr.deps],
        user_link_flags = ["-L%s/lib64" % CUDA_HOME, "-lcudart"],
    )
    return [
        DefaultInfo(files = depset(objects)),
        CcInfo(
            compilation_context = cc_common.create_compilation_context(
                headers = depset(ctx.files.hdrs, transitive = [headers.headers]),
                includes = headers.includes,
                quote_includes = headers.quote_includes,
                system_includes = headers.system_includes,
                defines = headers.defines,
            ),
            linking_context = linking_context,
        ),
    ]

_cuda_library = rule(
    implementation = _cuda_library_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu"], mandatory = True),
        "hdrs": attr.label_list(allow_files = [".h", ".cuh"]),
        "deps": attr.label_list(providers = [CcInfo]),
        "copts": attr.string_list(),
        "_headers": attr.label(default = Label("@local_cuda//:headers")),
        "_cc_toolchain": attr.label(
            default = Label("@bazel_tools//tools/cpp:current_cc_toolchain"),
        ),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)

# For targets that need --config=cuda: without it, //... leaves them out.
CUDA_ONLY = select({
    "//third_party/cuda:enabled": [],
    "//conditions:default": ["//third_party/cuda:cuda_only"],
})

def cuda_library(name, **kwargs):
    """A cc_library whose sources are compiled by nvcc.

    Depends on the installed toolkit and needs --config=cuda; without that flag
    it is incompatible, and so is what depends on it.

    Args:
      name: the target.
      **kwargs: srcs (.cu), hdrs, deps, copts and the common attributes.
    """
    _cuda_library(name = name, target_compatible_with = CUDA_ONLY, **kwargs)
