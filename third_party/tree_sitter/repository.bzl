"""tree-sitter and its grammars, as C, from pinned PyPI source packages."""

load("//third_party/python:pip.bzl", "pip_download_sources")

# The folder of a grammar here and where the packages have it.
_GRAMMARS = {
    "c": "tree_sitter_language_pack-*/parsers/c",
    "c_sharp": "tree-sitter-c-sharp-*",
    "cpp": "tree_sitter_language_pack-*/parsers/cpp",
    "go": "tree_sitter_language_pack-*/parsers/go",
    "java": "tree_sitter_language_pack-*/parsers/java",
    "javascript": "tree_sitter_language_pack-*/parsers/javascript",
    "php": "tree_sitter_language_pack-*/parsers/php",
    "python": "tree_sitter_language_pack-*/parsers/python",
    "ruby": "tree_sitter_language_pack-*/parsers/ruby",
}

def _tree_sitter_grammars_repository_impl(ctx):
    pip_download_sources(
        ctx,
        ctx.attr.requirements,
        ctx.attr.build_requirements,
        "tree-sitter and its grammars (55 MB)",
    )
    commands = ["set -e", "cd sources", "for file in *.tar.gz; do tar xzf $file; done"]
    for grammar, folder in _GRAMMARS.items():
        commands += [
            "mkdir ../" + grammar,
            "cp -r {}/src ../{}/".format(folder, grammar),
        ]
    commands += [
        "cp -r tree_sitter_language_pack-*/parsers/php/common ../php/",
        "cp -r tree-sitter-0*/tree_sitter/core/lib ../core",
        # This package comes without the headers that grammars share.
        "cp -r ../ruby/src/tree_sitter ../c_sharp/src/",
        "cd ..",
        "rm -rf sources",
    ]
    unpack = ctx.execute([ctx.which("sh"), "-c", "\n".join(commands)])
    if unpack.return_code:
        fail("cannot unpack tree-sitter: " + unpack.stderr)
    ctx.symlink(ctx.attr.build_file, "BUILD")

tree_sitter_grammars_repository = repository_rule(
    implementation = _tree_sitter_grammars_repository_impl,
    doc = "Downloads the library and grammars, checked by the hashes in `requirements`.",
    attrs = {
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "build_requirements": attr.label(mandatory = True, allow_single_file = True),
        "build_file": attr.label(default = "//third_party/tree_sitter:grammars.BUILD"),
    },
)
