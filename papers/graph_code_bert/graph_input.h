// What GraphCodeBERT reads: comment, code and data-flow nodes as one sequence,
// and which position may attend to which (Guo et al. 2021, arXiv 2009.08366,
// section 4.1 and equations 3 and 4). Free of LibTorch.
//
//   REPRO_ASSIGN_OR_RETURN(
//       const code::DataFlowGraph graph,
//       code::DataFlow(code::CodeLanguage::kJava, source));
//   REPRO_ASSIGN_OR_RETURN(const TokenPieces pieces,
//                          EncodeTokens(graph.tokens, tokenizer));
//   REPRO_ASSIGN_OR_RETURN(const GraphInput input,
//                          MakeGraphInput(graph, pieces, {}));
//   std::vector<uint8_t> mask = AttentionMask(input, {});
#ifndef REPRO_PAPERS_GRAPH_CODE_BERT_GRAPH_INPUT_H_
#define REPRO_PAPERS_GRAPH_CODE_BERT_GRAPH_INPUT_H_

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/code/data_flow.h"
#include "common/tokenizer/tokenizer.h"

namespace repro::graph_code_bert {

// The subword pieces of each code token.
using TokenPieces = std::vector<std::vector<int32_t>>;

// Each token but the first is encoded with a space in front, so that it gets
// the pieces that it has inside of a text. Bytes that are not UTF-8 become
// U+FFFD. Errors: those of Encode.
absl::StatusOr<TokenPieces> EncodeTokens(const std::vector<std::string>& tokens,
                                         const Tokenizer& tokenizer);

// roberta-base's ids and the lengths of the search task.
struct GraphInputOptions {
  int64_t code_length = 256;      // L_c
  int64_t data_flow_length = 64;  // L_d
  int32_t cls_id = 0;
  int32_t pad_id = 1;
  int32_t sep_id = 2;
  int32_t unk_id = 3;  // stands at the place of each node
};

// [CLS] W [SEP] C [SEP] V without padding; without a comment [CLS] C [SEP] V.
struct GraphInput {
  std::vector<int32_t> ids;
  // pad_id + 1, pad_id + 2, ... for comment and code; 0 for all nodes, which
  // have no order.
  std::vector<int32_t> positions;
  // How many positions come before the nodes.
  int64_t num_text = 0;
  // Where the code's pieces are: [code_begin, code_end).
  int64_t code_begin = 0;
  int64_t code_end = 0;
  // [CLS] and [SEP]s, which attend to everything.
  std::vector<int64_t> special;
  // The positions [begin, end) of the pieces of a node's token; both 0 where
  // they were cut off.
  struct Span {
    int64_t begin = 0;
    int64_t end = 0;
  };
  std::vector<Span> nodes;
  // (i, j): the value of node i comes from node j, so that i may attend to j.
  // In order, each once.
  std::vector<std::pair<int64_t, int64_t>> edges;

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
  int64_t num_nodes() const { return static_cast<int64_t>(nodes.size()); }
};

// Text (with [CLS] and [SEP]) is cut to L_c + L_d - min(|V|, L_d) pieces, the
// comment first kept; nodes to what is left of L_c + L_d. Of several nodes of
// one token, edges lead to the last one, as in the released code.
// InvalidArgument: pieces do not belong to the graph's tokens, token numbers
// out of range, lengths below 4 (code) or 0 (data flow).
absl::StatusOr<GraphInput> MakeGraphInput(
    const code::DataFlowGraph& graph, const TokenPieces& pieces,
    const GraphInputOptions& options, const std::vector<int32_t>& comment = {});

// The control of the experiments: as many edges, (i, j) drawn without
// replacement from all pairs of different nodes.
GraphInput ShuffleEdges(GraphInput input, std::mt19937_64& random);
// The ablation: the same input without nodes.
GraphInput WithoutDataFlow(GraphInput input);

// Whether a node may attend to itself.
enum class SelfAttention {
  kAsPublished,  // it may: equation 4
  kAsCoded,      // only if it is computed from itself
};

struct MaskOptions {
  SelfAttention self_attention = SelfAttention::kAsPublished;
  // Nodes whose edges to nodes (edge prediction) or to code (node alignment)
  // are hidden; one flag a node, or empty for none.
  std::vector<bool> hidden_edges;
  std::vector<bool> hidden_alignment;
};

// mask[i * length + j] is 1 where position i may attend to j: text to text,
// [CLS] and [SEP] to all, node and pieces of its token both ways, node i to
// node j along the edges.
std::vector<uint8_t> AttentionMask(const GraphInput& input,
                                   const MaskOptions& options);

// Pairs of positions to tell apart, of one of the two structure objectives.
struct PairSample {
  struct Pair {
    int64_t first;   // the position of a node
    int64_t second;  // of a node, or of a piece of code
    bool linked;
  };
  std::vector<Pair> pairs;
  // The nodes drawn, whose links the mask hides.
  std::vector<bool> hidden;
};

// Edge prediction (equations 5 and 6): a share of the nodes is drawn, V_s, at
// least one; all edges of V_s x V and V x V_s, and as many pairs without an
// edge, or as many as there are. Pairs of a node with itself are left out.
PairSample SampleEdges(const GraphInput& input, double share,
                       std::mt19937_64& random);

// Node alignment (equations 7 and 8): the pieces of the tokens of V_s, and as
// many other pieces of code for the same nodes.
PairSample SampleAlignment(const GraphInput& input, double share,
                           std::mt19937_64& random);

}  // namespace repro::graph_code_bert

#endif  // REPRO_PAPERS_GRAPH_CODE_BERT_GRAPH_INPUT_H_
