"""The rule of a paper's package."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

def paper(name, experiments = ["experiments.cc"], deps = [], data = [], test_size = "medium"):
    """Declares what every paper has, next to the package's own method and tests.

    Targets:
      claims            claims.textproto, checked and linked into whoever
                        depends on it; a mistake in it fails the build
      experiments       how each claim is measured
      claims_test       measures every claim that fits the test budget and
                        fails if a verdict is worse than the baseline's
    Unit tests are the package's own cc_test targets.

    Args:
      name: the paper's slug, which is the folder's name.
      experiments: sources that register the paper's experiments.
      deps: what the experiments need: the method first of all.
      data: files that the experiments read at run time.
      test_size: of claims_test.
    """
    if name != native.package_name().split("/")[-1]:
        fail("paper(name = \"%s\") is in the folder %s" % (name, native.package_name()))

    native.genrule(
        name = "claims_source",
        srcs = ["claims.textproto"],
        outs = ["claims.cc"],
        cmd = "$(location //common/claims:claims_compiler) --paper=%s $(location claims.textproto) > $@" % name,
        tools = ["//common/claims:claims_compiler"],
    )
    cc_library(
        name = "claims",
        srcs = ["claims.cc"],
        deps = ["//common/claims:experiment"],
        alwayslink = True,
    )
    cc_library(
        name = "experiments",
        srcs = experiments,
        data = data,
        visibility = [
            "//ci:__subpackages__",
            "//papers:__pkg__",
        ],
        deps = deps + [
            ":claims",
            "//common/claims:experiment",
        ],
        alwayslink = True,
    )
    cc_test(
        name = "claims_test",
        size = test_size,
        data = ["//ci/baselines"],
        tags = ["claims"],
        deps = [
            ":experiments",
            "//common/claims:claims_test_main",
        ],
    )
