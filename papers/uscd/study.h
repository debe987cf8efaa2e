// The paper's central claim at a small scale: decoders trained from scratch on
// ambiguous words, decoded in several ways.
#ifndef REPRO_PAPERS_USCD_STUDY_H_
#define REPRO_PAPERS_USCD_STUDY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/model.h"
#include "common/train/grid.h"
#include "papers/uscd/decode.h"
#include "papers/uscd/word_language.h"

namespace repro::uscd {

// The vocabulary that thetas and etas are carried over from: CodeLlama-7b's.
inline constexpr int64_t kCodeLlamaVocabulary = 32016;

// The same settings for `vocab_size` tokens: theta at equal sum of squares, eta
// at equal probability of the cut.
UscdSettings CarryOver(UscdSettings settings, int64_t vocab_size);

struct Study {
  int64_t dim = 64;
  int64_t num_layers = 2;
  int64_t num_heads = 4;
  int64_t ffn_dim = 128;
  // At 200 plain decoding solved 64% with seed 100, before anything else was
  // decoded; 25% at 100, all at 400.
  int64_t steps = 200;
  int64_t batch_size = 32;
  double rate = 3e-3;
  int64_t warmup_steps = 50;
  double lame_share = 0.5;  // of the training's prompts
  int64_t tasks = 240;      // of each test set
};

// Where uncertainty and noise lie: over all positions of the right answers,
// u = 1 - mu sqrt(V) and n = 1 - p(right token).
struct NoisePositions {
  std::vector<double> uncertainty, noise;
};

// A decoder for the language, its weights and batches by `seed`.
// InvalidArgument: not more steps than warm-up steps, or no batch.
absl::StatusOr<std::unique_ptr<lm::LanguageModel>> TrainDecoder(
    const Study& study, const WordLanguage& language, uint64_t seed,
    const GridCell& cell);

// Percent of `tasks` held-out tasks solved, and of tokens contrasted.
struct Solved {
  double percent = 0;
  double contrasted = 0;
};
// `options`' seed is set by task. `other_lame`: each word of the lame
// prompt is another one. `frequent`: see WordLanguage::Draw.
absl::StatusOr<Solved> Solve(const lm::LanguageModel& model,
                             const WordLanguage& language,
                             const DecodeOptions& options, int64_t tasks,
                             uint64_t seed, bool frequent, bool other_lame);

absl::StatusOr<NoisePositions> MeasureNoise(const lm::LanguageModel& model,
                                            const WordLanguage& language,
                                            int64_t tasks, uint64_t seed);

// Numbers by name. Percent solved: "plain", "always", "uscd", "released",
// "log_ratio", "other", "frequent_plain", "frequent_uscd", "theta_0.0025" and
// the others of ThetaGrid, "eta_0" and the others of EtaGrid. "firing_rate" in
// percent. "js" and "js_shuffled" in nats.
using StudyNumbers = std::map<std::string, double>;

// The default is among them.
const std::vector<double>& ThetaGrid();
const std::vector<double>& EtaGrid();
std::string ThetaName(double theta);
std::string EtaName(double eta);

// One for each of grid.seeds. grid.names is ignored. Resumes and is cancelled
// as TrainGrid.
absl::StatusOr<std::vector<StudyNumbers>> RunStudy(const Study& study,
                                                   Grid grid);

}  // namespace repro::uscd

#endif  // REPRO_PAPERS_USCD_STUDY_H_
