"""Wheels from PyPI as sources of headers and libraries."""

_PLATFORMS = [
    "manylinux_2_28_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
]

def pip_download(ctx, requirements, what):
    """Downloads wheels into the folder wheels of a repository rule.

    Args:
      ctx: of the repository rule.
      requirements: label of a requirements file with a hash for each wheel.
      what: for progress and errors: "LibTorch (540 MB)".
    """
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
        str(ctx.path(requirements)),
        "--dest",
        "wheels",
    ]
    for platform in _PLATFORMS:
        command.append("--platform=" + platform)
    ctx.report_progress("downloading " + what)
    result = ctx.execute(command, timeout = 3600)
    if result.return_code:
        fail("cannot download %s: %s" % (what, result.stderr))
