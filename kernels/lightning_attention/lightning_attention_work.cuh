// How a sweep is cut into what blocks do.
#ifndef REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_WORK_CUH_
#define REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_WORK_CUH_

#include <cstdint>

#include "kernels/lightning_attention/lightning_attention_cuda.h"

namespace repro {
namespace lightning {

constexpr int kChunk = 64;
constexpr int kSubtile = kChunk * 64 * 2;  // bytes of 64 rows of 64 values
constexpr float kLog2E = 1.4426950408889634f;
// e^{-s i} for i = -64 ... 64, zero below 0, in shared memory for a warpgroup.
constexpr int kPowers = 2 * kChunk + 8;

// The pass for the states cuts what it reads of a segment into at most so many
// pieces, none shorter than kLeastPiece rows but the last.
constexpr int kPieces = 4;
constexpr int kLeastPiece = 512;

// A run of tokens of one sequence.
struct Segment {
  int begin;  // row of q
  int rows;   // -1: unused entry
  int batch;
  int sequence;
  int slot;  // -1 for a sequence of one segment
  bool first, last;
};

// The slots of a sequence's segments and the rows of its last one.
struct SequenceSlots {
  int first, count, last_rows;
};

struct Sweep {
  const float* decay;
  const float* initial_state;
  float* final_state;
  int state_key_stride, state_value_stride;
  int heads, length, segments;
  bool reverse;
  // Segments of equal sequences, or the table of BuildTable.
  int segments_per_sequence, segment_rows;
  const Segment* table;
  // [slots, kPieces, heads] states in fragment order: of each piece alone, then
  // in the first one that of everything up to the segment's end.
  float* slots;
  // For stores of chunks that are not whole.
  LightningTensor out, second_out;
};

inline __device__ Segment SegmentOf(const Sweep& p, int index) {
  if (p.table != nullptr) return p.table[index];
  Segment s;
  s.sequence = s.batch = index / p.segments_per_sequence;
  const int part = index % p.segments_per_sequence;
  s.begin = part * p.segment_rows;
  s.rows = min(p.segment_rows, p.length - s.begin);
  s.slot = p.segments_per_sequence > 1 ? index : -1;
  s.first = part == 0;
  s.last = part == p.segments_per_sequence - 1;
  return s;
}

// Of a segment's rows, those that its state at the end depends on, counted from
// that end: what has decayed by more than 2^-32 is less than float32's rounding
// of what has not. Without decay that is the segment.
struct Reach {
  int rows, piece_rows;
};
inline __device__ Reach ReachOf(const Sweep& p, float slope) {
  constexpr float kNegligible = 32 / kLog2E;
  const float rows = kNegligible / slope;  // infinite without decay
  Reach reach = {p.segment_rows, 0};
  if (rows < static_cast<float>(p.segment_rows - kChunk)) {
    reach.rows = (static_cast<int>(rows) / kChunk + 1) * kChunk;
  }
  const int chunks = (reach.rows + kChunk - 1) / kChunk;
  reach.piece_rows =
      max(kLeastPiece, (chunks + kPieces - 1) / kPieces * kChunk);
  return reach;
}

// What a block walks over: rows [begin, begin + rows), from the state of slot
// `source` (kInitial: initial_state, kZero: none).
constexpr int kInitial = -1;
constexpr int kZero = -2;
struct Work {
  int begin, rows, batch, sequence, head;
  int source;
  int slot;       // of the pass for the states, where its result goes
  bool to_final;  // up to the sequence's end
};

// The item's work; false if it has none: the pass for the states leaves out
// sequences of one segment, segments whose state nobody needs and rows out of
// reach.
template <bool kStates>
__device__ bool FindWork(const Sweep& p, int item, Work* work) {
  const int head = item % p.heads;
  item /= p.heads;
  const int piece = kStates ? item % kPieces : 0;
  const Segment s = SegmentOf(p, kStates ? item / kPieces : item);
  if (s.rows < 0) return false;
  const bool at_start = p.reverse ? s.last : s.first;
  const bool at_end = p.reverse ? s.first : s.last;
  *work = {s.begin, s.rows, s.batch, s.sequence, head, kInitial, 0, at_end};
  if (!kStates) {
    if (s.slot >= 0 && !at_start) {
      work->source = (s.slot + (p.reverse ? 1 : -1)) * kPieces;
    }
    return true;
  }
  if (s.slot < 0 || at_end) return false;
  const Reach reach = ReachOf(p, p.decay[head]);
  const int near = piece * reach.piece_rows;
  const int far = min(near + reach.piece_rows, min(reach.rows, s.rows));
  if (near >= far) return false;
  work->begin += p.reverse ? near : s.rows - far;
  work->rows = far - near;
  work->slot = s.slot * kPieces + piece;
  if (!at_start || far < s.rows) work->source = kZero;
  return true;
}

}  // namespace lightning
}  // namespace repro

#endif  // REPRO_KERNELS_LIGHTNING_ATTENTION_LIGHTNING_ATTENTION_WORK_CUH_
