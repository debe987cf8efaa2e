// What the independent libraries of testdata/make_testdata.py say.
#ifndef REPRO_COMMON_TOKENIZER_EXPECTED_H_
#define REPRO_COMMON_TOKENIZER_EXPECTED_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/tokenizer/tokenizer.h"

namespace repro {

// testdata/<name> of this folder; fails the test if it cannot be read.
std::string ReadTestdata(const std::string& name);

// The tokenizer of testdata/<name>.json.
std::unique_ptr<Tokenizer> TinyTokenizer(const std::string& name);

// Compares the ids, the plain ids, the decoded text and the stream of every
// string of cases.jsonl with the column `name`.
void CheckCasesInFull(const Tokenizer& tokenizer, const std::string& name);
// Compares hashes of the ids.
void CheckCasesHashed(const Tokenizer& tokenizer, const std::string& name);
// Compares the hash of the ids of all of RandomStrings().
void CheckRandomStrings(const Tokenizer& tokenizer, const std::string& name);

// The strings that make_testdata.py draws.
std::vector<std::string> RandomStrings();

// decode(encode(s)) = s, also as a stream, for `count` strings of any assigned
// or unassigned code points whose bytes the vocabulary has.
void CheckRoundTrips(const Tokenizer& tokenizer, int count);

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_EXPECTED_H_
