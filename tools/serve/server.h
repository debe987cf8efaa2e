// An OpenAI-compatible HTTP endpoint over common/lm's engine:
// /v1/completions, /v1/chat/completions, /v1/models and /health.
#ifndef REPRO_TOOLS_SERVE_SERVER_H_
#define REPRO_TOOLS_SERVE_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/lm/engine.h"
#include "common/lm/model.h"
#include "common/lm/policy.h"
#include "common/tokenizer/tokenizer.h"

namespace repro {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;      // 0: any free one
  std::string api_key;  // empty: none is asked for
  std::string model_name = "model";
  lm::EngineOptions engine;
  int64_t max_body_bytes = int64_t{1} << 20;
  int64_t max_new_tokens = 4096;                   // that a request may ask for
  int64_t max_choices = 16;                        // prompts times n
  absl::Duration max_time = absl::Minutes(10);     // of one answer
  absl::Duration read_timeout = absl::Seconds(5);  // of a silent client
  absl::Duration stop_wait = absl::Seconds(20);    // for requests that run
  uint64_t seed = 0;  // of requests without one, each its own
};

class Server {
 public:
  // The model and the tokenizer must outlive it.
  Server(const lm::LanguageModel* model, const Tokenizer* tokenizer,
         lm::StateFactory factory, ServerOptions options);
  ~Server();  // Stop()

  // Binds and serves in threads of its own. Unavailable if it cannot bind.
  absl::Status Start();
  int port() const;

  // Refuses new requests (503), lets those that run go on for stop_wait, then
  // closes all.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace repro

#endif  // REPRO_TOOLS_SERVE_SERVER_H_
