"""Files as string constants, so that a program needs no file beside it."""

def embed_text(name, namespace, texts):
    """Writes the header NAME.h.

    Args:
      name: of the header, without its ending.
      namespace: in which the constants are.
      texts: {constant: file}. A file must not hold `)EMBEDDED"`.
    """
    guard = "REPRO_%s_%s_H_" % (native.package_name(), name)
    for separator in ["/", "-", "."]:
        guard = guard.replace(separator, "_")
    guard = guard.upper()
    lines = [
        "echo '#ifndef %s'" % guard,
        "echo '#define %s'" % guard,
        "echo 'namespace %s {'" % namespace,
    ]
    for constant, file in texts.items():
        lines += [
            "printf 'inline constexpr char %s[] = R\"EMBEDDED('" % constant,
            "cat $(location %s)" % file,
            "echo ')EMBEDDED\";'",
        ]
    lines += ["echo '}'", "echo '#endif'"]
    native.genrule(
        name = name + "_header",
        srcs = texts.values(),
        outs = [name + ".h"],
        cmd = "{\n%s\n} > $@" % "\n".join(lines),
        visibility = ["//visibility:private"],
    )
