"""Packages from PyPI as sources of headers, libraries and C code."""

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

def pip_download_sources(ctx, requirements, build_requirements, what):
    """Downloads source packages into the folder sources of a repository rule.

    Args:
      ctx: of the repository rule.
      requirements: label of a requirements file with a hash for each package.
      build_requirements: the same for the wheels with which pip reads the
        packages' metadata, which it does even if it only downloads.
      what: for progress and errors: "grammars (55 MB)".
    """
    pip_download(ctx, build_requirements, what)
    unpack = ctx.execute([ctx.which("sh"), "-c", """
set -e
mkdir build_tools
for wheel in wheels/*.whl; do unzip -qo "$wheel" -d build_tools; done
rm -rf wheels
"""])
    if unpack.return_code:
        fail("cannot unpack what builds %s: %s" % (what, unpack.stderr))
    ctx.report_progress("downloading " + what)
    result = ctx.execute(
        [
            ctx.which("python3"),
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary=:all:",
            "--no-build-isolation",
            "--require-hashes",
            "--requirement",
            str(ctx.path(requirements)),
            "--dest",
            "sources",
        ],
        environment = {"PYTHONPATH": str(ctx.path("build_tools"))},
        timeout = 3600,
    )
    if result.return_code:
        fail("cannot download %s: %s" % (what, result.stderr))
    ctx.execute([ctx.which("rm"), "-rf", "build_tools"])
