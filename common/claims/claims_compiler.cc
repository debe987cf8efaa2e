// Turns a claims.textproto into a C++ source that registers the paper, or fails
// with what is wrong with it. Run by the paper() rule.
//   claims_compiler --paper=van papers/van/claims.textproto > claims.cc

#include <cstdio>
#include <iostream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/claims/paper.h"
#include "common/data/io.h"

namespace repro {
namespace {

absl::StatusOr<std::string> Compile(const std::string& slug,
                                    const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Paper> paper = ParsePaper(*text, path);
  if (!paper.ok()) return paper.status();
  if (paper->slug() != slug) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": paper: slug: is \"", paper->slug(),
                     "\", the folder is \"", slug, "\""));
  }
  std::string literal;
  const std::string bytes = paper->SerializeAsString();
  for (size_t begin = 0; begin < bytes.size(); begin += 60) {
    absl::StrAppend(&literal, "    \"",
                    absl::CEscape(absl::string_view(bytes).substr(begin, 60)),
                    "\"\n");
  }
  return absl::StrCat(
      "// Generated from ", path, ".\n#include <string>\n\n",
      "#include \"common/claims/experiment.h\"\n\n",
      "static const bool repro_paper = [] {\n",
      "  ::repro::Paper paper;\n  paper.ParseFromString(std::string(\n",
      literal, "    , ", bytes.size(), "));\n",
      "  ::repro::Registry::Global().AddPaper(paper);\n  return true;\n}();\n");
}

}  // namespace
}  // namespace repro

int main(int argc, char** argv) {
  if (argc != 3 || !absl::StartsWith(argv[1], "--paper=")) {
    std::cerr << "usage: claims_compiler --paper=SLUG CLAIMS.TEXTPROTO\n";
    return 2;
  }
  const auto source = repro::Compile(
      std::string(absl::StripPrefix(argv[1], "--paper=")), argv[2]);
  if (!source.ok()) {
    std::cerr << source.status().message() << "\n";
    return 2;
  }
  std::cout << *source;
  return 0;
}
