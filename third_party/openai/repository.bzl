"""OpenAI's Python client, which a test drives `repro serve` with."""

def _openai_repository_impl(ctx):
    ctx.report_progress("installing OpenAI's Python client (5 MB)")

    # For the Python of this machine: the test runs under it.
    result = ctx.execute([
        ctx.which("python3"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--requirement",
        str(ctx.path(ctx.attr.requirements)),
        "--target",
        "site",
    ])
    if result.return_code:
        ctx.execute([ctx.which("rm"), "-rf", "site"])
        ctx.file("MISSING", result.stderr)
    ctx.symlink(ctx.attr.build_file, "BUILD")

openai_repository = repository_rule(
    implementation = _openai_repository_impl,
    doc = "The wheels of `requirements`, checked by their hashes, in the " +
          "folder site; or a file MISSING that says why they cannot be had.",
    attrs = {
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "build_file": attr.label(default = "//third_party/openai:openai.BUILD"),
    },
)
