"""Lets one WORKSPACE load under Debian 12's Bazel (4.2.3) and under Bazel 7.

Debian's build of Bazel reports no version and ships its rules under
/usr/share/bazel; what it would otherwise download is replaced by the folders
next to this file. Of these, newer Bazels take rules_cc alone, so that no version
of it has to fit them.
"""

def _is_old_bazel():
    version = native.bazel_version or ""
    major = version.split(".")[0]
    return not major.isdigit() or int(major) < 5

def bazel_compat():
    """Declares rules_cc, and the repositories that only the old Bazel needs."""
    native.local_repository(
        name = "rules_cc",
        path = "third_party/bazel/rules_cc",
    )
    if not _is_old_bazel():
        return
    native.local_repository(
        name = "remote_coverage_tools",
        path = "third_party/bazel/remote_coverage_tools",
    )
    native.local_repository(
        name = "rules_java",
        path = "/usr/share/bazel/rules/java",
    )
    native.local_repository(
        name = "rules_proto",
        path = "/usr/share/bazel/rules/proto",
    )
