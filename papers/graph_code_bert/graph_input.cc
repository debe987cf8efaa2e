#include "papers/graph_code_bert/graph_input.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::graph_code_bert {
namespace {

using Edge = std::pair<int64_t, int64_t>;

// `count` different numbers below `size`, in the order of the draw.
std::vector<int64_t> DrawWithoutReplacement(int64_t size, int64_t count,
                                            std::mt19937_64& random) {
  std::vector<int64_t> all(size);
  for (int64_t i = 0; i < size; ++i) all[i] = i;
  for (int64_t i = 0; i < count; ++i) {
    std::swap(all[i], all[i + static_cast<int64_t>(
                                  random() % static_cast<uint64_t>(size - i))]);
  }
  all.resize(count);
  return all;
}

// V_s as flags.
std::vector<bool> DrawNodes(int64_t num_nodes, double share,
                            std::mt19937_64& random) {
  std::vector<bool> drawn(num_nodes, false);
  if (num_nodes == 0) return drawn;
  const int64_t wanted = std::llround(share * static_cast<double>(num_nodes));
  const int64_t count = std::clamp<int64_t>(wanted, 1, num_nodes);
  for (const int64_t node : DrawWithoutReplacement(num_nodes, count, random)) {
    drawn[node] = true;
  }
  return drawn;
}

// Adds as many of `negatives` as there are pairs, or all of them.
void AddNegatives(const std::vector<Edge>& negatives, PairSample* sample,
                  std::mt19937_64& random) {
  const auto size = static_cast<int64_t>(negatives.size());
  const int64_t count =
      std::min(size, static_cast<int64_t>(sample->pairs.size()));
  for (const int64_t i : DrawWithoutReplacement(size, count, random)) {
    sample->pairs.push_back(
        {negatives[i].first, negatives[i].second, /*linked=*/false});
  }
}

bool IsSet(const std::vector<bool>& flags, int64_t i) {
  return i < static_cast<int64_t>(flags.size()) && flags[i];
}

}  // namespace

absl::StatusOr<TokenPieces> EncodeTokens(const std::vector<std::string>& tokens,
                                         const Tokenizer& tokenizer) {
  EncodeOptions options;
  options.add_special_tokens = false;
  options.parse_special = false;  // "<s>" in a string is text
  TokenPieces pieces;
  pieces.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string text = ReplaceInvalidUtf8(tokens[i]);
    REPRO_ASSIGN_OR_RETURN(
        std::vector<int32_t> ids,
        tokenizer.Encode(i == 0 ? text : absl::StrCat(" ", text), options));
    pieces.push_back(std::move(ids));
  }
  return pieces;
}

absl::StatusOr<GraphInput> MakeGraphInput(const code::DataFlowGraph& graph,
                                          const TokenPieces& pieces,
                                          const GraphInputOptions& options,
                                          const std::vector<int32_t>& comment) {
  if (options.code_length < 4 || options.data_flow_length < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("graph input: code_length ", options.code_length,
                     " and data_flow_length ", options.data_flow_length,
                     "; expected at least 4 and 0"));
  }
  if (pieces.size() != graph.tokens.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("graph input: pieces of ", pieces.size(), " tokens for ",
                     graph.tokens.size(), " tokens"));
  }
  for (const code::DataFlowEdge& node : graph.edges) {
    if (node.token_index < 0 ||
        node.token_index >= static_cast<int64_t>(pieces.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("graph input: node of token ", node.token_index,
                       ", and there are ", pieces.size()));
    }
  }

  const int64_t total = options.code_length + options.data_flow_length;
  const int64_t text_limit =
      total - std::min(static_cast<int64_t>(graph.edges.size()),
                       options.data_flow_length);
  GraphInput input;
  const auto append = [&](int32_t id) {
    input.positions.push_back(options.pad_id + 1 +
                              static_cast<int32_t>(input.ids.size()));
    input.ids.push_back(id);
  };
  const auto append_special = [&](int32_t id) {
    input.special.push_back(input.length());
    append(id);
  };

  append_special(options.cls_id);
  if (!comment.empty()) {
    // One place is kept for each of the two [SEP].
    const int64_t room = text_limit - input.length() - 2;
    const int64_t count = std::min(room, static_cast<int64_t>(comment.size()));
    for (int64_t i = 0; i < count; ++i) append(comment[i]);
    append_special(options.sep_id);
  }
  input.code_begin = input.length();
  std::vector<GraphInput::Span> spans(pieces.size());
  int64_t next = input.code_begin;  // as if nothing were cut off
  for (size_t i = 0; i < pieces.size(); ++i) {
    spans[i].begin = next;
    for (const int32_t id : pieces[i]) {
      if (input.length() < text_limit - 1) append(id);
      ++next;
    }
    spans[i].end = next;
  }
  input.code_end = input.length();
  append_special(options.sep_id);
  input.num_text = input.length();

  const int64_t num_nodes = std::min(static_cast<int64_t>(graph.edges.size()),
                                     total - input.num_text);
  std::map<int, int64_t> last_node;  // by token
  for (int64_t i = 0; i < num_nodes; ++i) {
    const int token = graph.edges[i].token_index;
    last_node[token] = i;
    const GraphInput::Span span = spans[token];
    input.nodes.push_back(span.end <= input.code_end ? span
                                                     : GraphInput::Span());
    input.ids.push_back(options.unk_id);
    input.positions.push_back(0);
  }
  for (int64_t i = 0; i < num_nodes; ++i) {
    for (const int source : graph.edges[i].source_indexes) {
      const auto found = last_node.find(source);
      if (found != last_node.end()) input.edges.emplace_back(i, found->second);
    }
  }
  std::sort(input.edges.begin(), input.edges.end());
  input.edges.erase(std::unique(input.edges.begin(), input.edges.end()),
                    input.edges.end());
  return input;
}

GraphInput ShuffleEdges(GraphInput input, std::mt19937_64& random) {
  const int64_t n = input.num_nodes();
  const int64_t num_pairs = n * (n - 1);
  const int64_t count =
      std::min(num_pairs, static_cast<int64_t>(input.edges.size()));
  input.edges.clear();
  for (const int64_t pair : DrawWithoutReplacement(num_pairs, count, random)) {
    const int64_t i = pair / (n - 1);
    const int64_t j = pair % (n - 1);
    input.edges.emplace_back(i, j < i ? j : j + 1);
  }
  std::sort(input.edges.begin(), input.edges.end());
  return input;
}

GraphInput WithoutDataFlow(GraphInput input) {
  input.ids.resize(input.num_text);
  input.positions.resize(input.num_text);
  input.nodes.clear();
  input.edges.clear();
  return input;
}

std::vector<uint8_t> AttentionMask(const GraphInput& input,
                                   const MaskOptions& options) {
  const int64_t length = input.length();
  std::vector<uint8_t> mask(length * length, 0);
  const auto allow = [&](int64_t i, int64_t j) { mask[i * length + j] = 1; };
  for (int64_t i = 0; i < input.num_text; ++i) {
    for (int64_t j = 0; j < input.num_text; ++j) allow(i, j);
  }
  for (const int64_t i : input.special) {
    for (int64_t j = 0; j < length; ++j) allow(i, j);
  }
  for (int64_t node = 0; node < input.num_nodes(); ++node) {
    const int64_t i = input.num_text + node;
    if (!IsSet(options.hidden_alignment, node)) {
      for (int64_t j = input.nodes[node].begin; j < input.nodes[node].end;
           ++j) {
        allow(i, j);
        allow(j, i);
      }
    }
    if (options.self_attention == SelfAttention::kAsPublished) allow(i, i);
  }
  for (const auto& [from, to] : input.edges) {
    if (IsSet(options.hidden_edges, from) || IsSet(options.hidden_edges, to)) {
      continue;
    }
    allow(input.num_text + from, input.num_text + to);
  }
  return mask;
}

PairSample SampleEdges(const GraphInput& input, double share,
                       std::mt19937_64& random) {
  const int64_t n = input.num_nodes();
  PairSample sample;
  sample.hidden = DrawNodes(n, share, random);
  const std::set<Edge> edges(input.edges.begin(), input.edges.end());
  std::vector<Edge> negatives;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      if (i == j || !(sample.hidden[i] || sample.hidden[j])) continue;
      const Edge at(input.num_text + i, input.num_text + j);
      if (edges.count({i, j}) > 0) {
        sample.pairs.push_back({at.first, at.second, /*linked=*/true});
      } else {
        negatives.push_back(at);
      }
    }
  }
  AddNegatives(negatives, &sample, random);
  return sample;
}

PairSample SampleAlignment(const GraphInput& input, double share,
                           std::mt19937_64& random) {
  PairSample sample;
  sample.hidden = DrawNodes(input.num_nodes(), share, random);
  std::vector<Edge> negatives;
  for (int64_t node = 0; node < input.num_nodes(); ++node) {
    if (!sample.hidden[node]) continue;
    const GraphInput::Span span = input.nodes[node];
    for (int64_t j = input.code_begin; j < input.code_end; ++j) {
      if (span.begin <= j && j < span.end) {
        sample.pairs.push_back({input.num_text + node, j, /*linked=*/true});
      } else {
        negatives.emplace_back(input.num_text + node, j);
      }
    }
  }
  AddNegatives(negatives, &sample, random);
  return sample;
}

}  // namespace repro::graph_code_bert
