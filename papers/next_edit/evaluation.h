// The metrics of next edit prediction, from exact to lenient, as the authors'
// evaluate.py has them: a model's whole next version against N, as changes of
// the current contents C.
//
//   REPRO_ASSIGN_OR_RETURN(const Matches matches,
//                          Match(sample.current_contents, sample.new_contents,
//                                output));
#ifndef REPRO_PAPERS_NEXT_EDIT_EVALUATION_H_
#define REPRO_PAPERS_NEXT_EDIT_EVALUATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::next_edit {

// Exact implies partial, and partial implies position, where N has one hunk.
struct Matches {
  bool exact = false;     // equal bytes
  bool partial = false;   // the true hunk is one of the output's
  bool position = false;  // its context lines are those of one of the output's
};

// Hunks are those of the unified diff of C to N and of C to `output`, with 3
// lines of context, without line ends; one that changes only blank lines does
// not count. The true hunk is the first. Partial compares header and lines;
// position compares the unchanged lines alone, in order, wherever they stand in
// the file. InvalidArgument if C to N has no hunk (the authors' script raises
// an error).
absl::StatusOr<Matches> Match(absl::string_view current_contents,
                              absl::string_view new_contents,
                              absl::string_view output);

// Equal but for white space at the end of the file.
bool ExactUpToTrailingSpace(absl::string_view new_contents,
                            absl::string_view output);

// What the authors take from a chat model's response, by its "<next_version>"
// tags, each on a line of its own. The line end before the closing tag belongs
// to the tag: an output without an empty line there lacks N's final line end.

// generate_api.py: None, and the model is asked again, unless the response
// begins and ends with the tags. A fence is dropped: the first line and, of a
// response that begins with ``` , the last four characters, whatever they are.
std::optional<std::string> AnswerOfApiModel(absl::string_view response);

// generate_offline.py: what stands between the first opening tag and the next
// closing tag, or the whole response. Its truth is Target(), one line end
// longer than N.
std::string AnswerOfLocalModel(absl::string_view response);

// One output of a model, joined to its sample.
struct ModelOutput {
  int64_t index;          // of the sample
  int64_t file_position;  // its row in the file that the program wrote, from 0
  std::string output;
  bool judged_correct;  // the judge wrote "yes" and nothing else
};

// JSON Lines, plain or gzip, with index, file_position, model_output and judge.
// Errors: those of ReadJsonl; InvalidArgument "path:line: ..." for a record
// that lacks a field or has one of another type, an index outside
// [0, num_samples) or that an earlier record has, and file positions that are
// not 0 to the number of records in some order; "path: no outputs".
absl::StatusOr<std::vector<ModelOutput>> ReadOutputs(const std::string& path,
                                                     int64_t num_samples);

}  // namespace repro::next_edit

#endif  // REPRO_PAPERS_NEXT_EDIT_EVALUATION_H_
