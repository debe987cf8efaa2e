"""The targets that every operator has."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")
load("//third_party/cuda:cuda_library.bzl", "CUDA_ONLY", "cuda_library")

def kernel_op(name, deps = [], cuda_deps = [], cuda_hdrs = [], cuda_srcs = None, cuda = True, copts = [], test_size = "small", test_shards = 1):
    """Declares an operator of the folder of its name.

    Targets:
      NAME               schema, autograd and the CPU reference
      NAME_cuda          the CUDA kernels, for librepro_kernels_cuda.so
      NAME_test          on the CPU
      NAME_cuda_test     part of //kernels:cuda_test
      NAME_benchmark     part of //kernels:benchmark

    Args:
      name: the folder's name.
      deps: of NAME besides Torch.
      cuda_deps: of the .cu source.
      cuda_hdrs: its headers besides NAME_cuda.h.
      cuda_srcs: .cu sources, NAME_cuda.cu alone if not given.
      cuda: whether it has CUDA kernels; without, NAME_cuda, its kernels and
        NAME_cuda_test are not declared, and it goes to CPU_OPS in
        //kernels:BUILD.
      copts: of NAME. "-fopenmp" where it calls at::parallel_for, a template that
        runs on one thread without it.
      test_size: of NAME_test.
      test_shards: of NAME_test.
    """
    if name != native.package_name().split("/")[-1]:
        fail("kernel_op(name = \"%s\") is in the folder %s" % (name, native.package_name()))
    cc_library(
        name = name,
        srcs = [
            name + ".cc",
            name + "_cpu.cc",
        ],
        hdrs = [name + ".h"],
        copts = copts,
        visibility = ["//visibility:public"],
        deps = deps + ["//third_party/torch"],
        alwayslink = True,
    )
    cc_test(
        name = name + "_test",
        size = test_size,
        srcs = [name + "_test.cc"],
        shard_count = test_shards,
        deps = [
            ":" + name,
            "//kernels/testing",
            "//third_party/googletest:gtest_main",
            "//third_party/torch",
        ],
    )
    cc_library(
        name = name + "_benchmark",
        srcs = [name + "_benchmark.cc"],
        visibility = ["//kernels:__pkg__"],
        deps = [
            ":" + name,
            "//kernels/testing:benchmark",
            "//third_party/torch",
        ],
        alwayslink = True,
    )
    if not cuda:
        return
    cuda_library(
        name = name + "_cuda_kernels",
        srcs = cuda_srcs or [name + "_cuda.cu"],
        hdrs = [name + "_cuda.h"] + cuda_hdrs,
        deps = cuda_deps,
    )
    cc_library(
        name = name + "_cuda",
        srcs = [name + "_cuda.cc"],
        target_compatible_with = CUDA_ONLY,
        visibility = ["//kernels:__pkg__"],
        deps = deps + [
            ":%s_cuda_kernels" % name,
            "//kernels/runtime:float_type_of",
            "//third_party/torch:torch_cuda",
        ],
        alwayslink = True,
    )
    cc_library(
        name = name + "_cuda_test",
        testonly = True,
        srcs = [name + "_cuda_test.cc"],
        visibility = ["//kernels:__pkg__"],
        deps = [
            ":" + name,
            "//kernels/testing",
            "//third_party/googletest:gtest",
            "//third_party/torch",
        ],
        alwayslink = True,
    )
