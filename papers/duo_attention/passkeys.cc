#include "papers/duo_attention/passkeys.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::duo {
namespace {

constexpr const char* kWords[] = {
    "alpha",  "bravo",   "charlie", "delta",  "echo",   "foxtrot", "golf",
    "hotel",  "india",   "juliett", "kilo",   "lima",   "mike",    "november",
    "oscar",  "papa",    "quebec",  "romeo",  "sierra", "tango",   "uniform",
    "victor", "whiskey", "xray",    "yankee", "zulu"};
constexpr int64_t kNumWords = 26;
constexpr const char* kOrdinals[] = {"first", "second", "third",   "fourth",
                                     "fifth", "sixth",  "seventh", "eighth",
                                     "ninth", "tenth"};

}  // namespace

absl::StatusOr<PasskeyTexts> PasskeyTexts::Create(const Tokenizer& tokenizer,
                                                  absl::string_view haystack,
                                                  const PasskeyConfig& config) {
  if (config.num_passkeys < 1 || config.num_passkeys > 10 ||
      config.passkey_words < 1 || config.num_lengths < 1 ||
      config.least_length > config.most_length ||
      config.num_depths < config.num_passkeys) {
    return absl::InvalidArgumentError(absl::StrCat(
        "passkeys: ", config.num_passkeys, " of ", config.passkey_words,
        " words in ", config.least_length, " to ", config.most_length,
        " tokens, ", config.num_lengths, " lengths, ", config.num_depths,
        " depths: expected 1 to 10 passkeys, at least as many depths"));
  }
  PasskeyTexts out;
  out.config_ = config;
  const auto encode = [&](absl::string_view text,
                          bool special) -> absl::StatusOr<Ids> {
    EncodeOptions options;
    options.add_special_tokens = special;
    REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                           tokenizer.Encode(text, options));
    return Ids(ids.begin(), ids.end());
  };
  REPRO_ASSIGN_OR_RETURN(out.haystack_, encode(haystack, false));
  REPRO_ASSIGN_OR_RETURN(out.separator_, encode("\n\n", false));
  REPRO_ASSIGN_OR_RETURN(
      out.begin_,
      encode("<|im_start|> This is a very long story book: <book> ", true));
  REPRO_ASSIGN_OR_RETURN(out.end_, encode(" </book>.\n\n", false));
  size_t longest = 0;
  for (const char* word : kWords) {
    REPRO_ASSIGN_OR_RETURN(Ids first, encode(word, false));
    REPRO_ASSIGN_OR_RETURN(Ids later, encode(absl::StrCat(" ", word), false));
    longest = std::max({longest, first.size(), later.size()});
    out.words_.push_back(std::move(first));
    out.words_.push_back(std::move(later));
  }
  size_t besides = out.begin_.size() + out.end_.size();
  for (int64_t i = 0; i < config.num_passkeys; ++i) {
    REPRO_ASSIGN_OR_RETURN(
        Ids needle,
        encode(absl::StrCat("Remeber this sequence of words, it's the ",
                            kOrdinals[i], " passkey to the vault: "),
               false));
    REPRO_ASSIGN_OR_RETURN(
        Ids question,
        encode(absl::StrCat("Based on the content of the book, what is the ",
                            kOrdinals[i], " passkey to the vault?\nPasskey: "),
               false));
    besides += needle.size() + question.size() + 3 * out.separator_.size() +
               2 * config.passkey_words * longest;
    out.needles_.push_back(std::move(needle));
    out.questions_.push_back(std::move(question));
  }
  out.besides_ = static_cast<int64_t>(besides);
  if (out.haystack_.empty() || config.least_length <= out.besides_) {
    return absl::InvalidArgumentError(
        absl::StrCat("passkeys: a text of ", out.haystack_.size(),
                     " tokens in lengths from ", config.least_length,
                     "; needles and "
                     "questions take up to ",
                     out.besides_));
  }
  return out;
}

GateSample PasskeyTexts::Draw(at::Generator generator) const {
  const auto draw = [&](int64_t below) {
    return at::randint(0, below, {1}, generator, at::TensorOptions(at::kLong))
        .item<int64_t>();
  };
  const int64_t step = config_.num_lengths == 1 ? 0 : draw(config_.num_lengths);
  const int64_t length = config_.least_length +
                         (config_.most_length - config_.least_length) * step /
                             std::max<int64_t>(1, config_.num_lengths - 1);
  const int64_t hay = length - besides_;
  const auto [sorted, order] =
      at::randperm(config_.num_depths, generator, at::kLong)
          .narrow(0, 0, config_.num_passkeys)
          .sort();
  Ids ids = begin_, tail;
  const auto add = [](Ids* to, const Ids& from) {
    to->insert(to->end(), from.begin(), from.end());
  };
  int64_t read = 0;
  const int64_t start = draw(static_cast<int64_t>(haystack_.size()));
  const auto read_to = [&](int64_t place) {
    for (; read < place; ++read) {
      ids.push_back(haystack_[(start + read) % haystack_.size()]);
    }
  };
  for (int64_t i = 0; i < config_.num_passkeys; ++i) {
    Ids passkey;
    for (int64_t w = 0; w < config_.passkey_words; ++w) {
      add(&passkey, words_[2 * draw(kNumWords) + (w > 0 ? 1 : 0)]);
    }
    const double depth =
        0.05 +
        0.9 * static_cast<double>(sorted[i].item<int64_t>()) /
            static_cast<double>(std::max<int64_t>(1, config_.num_depths - 1));
    read_to(static_cast<int64_t>(static_cast<double>(hay) * depth));
    add(&ids, separator_);
    add(&ids, needles_[i]);
    add(&ids, passkey);
    add(&ids, separator_);
    add(&tail, questions_[i]);
    add(&tail, passkey);
    add(&tail, separator_);
  }
  read_to(hay);
  add(&ids, end_);
  const auto prompt = static_cast<int64_t>(ids.size());
  add(&ids, tail);
  GateSample sample;
  sample.tokens = at::tensor(ids, at::kLong);
  sample.labelled =
      at::arange(static_cast<int64_t>(ids.size()), at::kLong) >= prompt;
  return sample;
}

}  // namespace repro::duo
