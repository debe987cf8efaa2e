// Samples of next edit prediction (Lu et al. 2025, arXiv 2508.10074): the
// original contents O of a file, its current contents C, and its next contents
// N, which have one inserted block more than C. How they are made of a commit,
// and the text that models are trained on.
//
//   REPRO_ASSIGN_OR_RETURN(const std::vector<Sample> samples,
//                          ReadSamples("test210.jsonl.gz"));
//   Prompt(samples[0])   // what a model continues, greedily,
//   Target(samples[0])   // with this
#ifndef REPRO_PAPERS_NEXT_EDIT_SAMPLE_H_
#define REPRO_PAPERS_NEXT_EDIT_SAMPLE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::next_edit {

// In the order of the test set, as Sample::language spells them.
inline constexpr std::array<const char*, 7> kLanguages = {
    "python", "java", "go", "c", "cpp", "javascript", "typescript"};

struct Sample {
  int64_t index;  // its row in the test set, from 0
  std::string language;
  std::string old_file;
  std::string new_file;
  std::string old_contents;
  std::string current_contents;
  std::string new_contents;
  std::string text_sha256;  // of the published text, Prompt() + Target()
};

// The test set: JSON Lines, plain or gzip, with Sample's fields. Errors: those
// of ReadJsonl; InvalidArgument "path:line: ..." for a record that lacks a
// field or has one of another type, another language, or an index that is not
// its row's; "path: no samples".
absl::StatusOr<std::vector<Sample>> ReadSamples(const std::string& path);

// C: N without the last block that difflib's opcodes insert, with line ends
// kept. None if they insert nothing: a change may be a replacement to difflib
// though no line was deleted.
std::optional<std::string> RemoveLastInsertion(absl::string_view old_contents,
                                               absl::string_view new_contents);

// D: the unified diff of O to C with 3 lines of context, joined by "\n".
std::string EditsDiff(const Sample& sample);

// "<|original_code|>", O, "<|edits_diff|>", D, "<|current_version|>", C and
// "<|next_version|>", each followed by a line end.
std::string Prompt(const Sample& sample);

// N and a line end, after which the authors' models write their end token.
std::string Target(const Sample& sample);

}  // namespace repro::next_edit

#endif  // REPRO_PAPERS_NEXT_EDIT_SAMPLE_H_
