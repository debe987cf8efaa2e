#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status/macros.h"
#include "tools/commands.h"
#include "tools/language_model.h"
#include "tools/serve/server.h"

namespace repro {

absl::StatusOr<int> ServeCommand(const ServeCommandOptions& options) {
  bool missing = false;
  const absl::StatusOr<RunnableModel> loaded =
      LoadRunnableModel(options.model, &missing);
  if (missing) {
    std::cerr << "repro: " << loaded.status().message() << "\n";
    return kExitMissingAsset;
  }
  REPRO_RETURN_IF_ERROR(loaded.status());
  ServerOptions server_options;
  server_options.host = options.host;
  server_options.port = options.port;
  server_options.api_key = options.api_key;
  server_options.model_name = loaded->name;
  server_options.engine.max_running = options.max_running;
  server_options.engine.max_waiting = options.max_waiting;
  server_options.engine.max_tokens = options.max_cached_tokens;
  server_options.max_new_tokens = options.max_tokens;
  server_options.max_time = absl::Seconds(options.max_seconds);
  const bool loopback = options.host == "localhost" || options.host == "::1" ||
                        options.host.rfind("127.", 0) == 0;
  if (!loopback) {
    std::cerr << "repro: warning: " << options.host
              << " may be reached from other machines, without encryption"
              << (options.api_key.empty() ? " and without an --api-key" : "")
              << "\n";
  }
  Server server(loaded->model.get(), loaded->tokenizer.get(), loaded->factory,
                server_options);
  REPRO_RETURN_IF_ERROR(server.Start());
  std::cerr << loaded->name << " at http://" << options.host << ":"
            << server.port() << "/v1 (Ctrl-C stops)" << std::endl;
  while (!g_stop) absl::SleepFor(absl::Milliseconds(100));
  std::cerr << "stopping ...\n";
  server.Stop();
  return kExitOk;
}

}  // namespace repro
