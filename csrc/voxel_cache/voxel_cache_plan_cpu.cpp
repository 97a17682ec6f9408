// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "torch/parallel.h"
#include "voxel_cache/voxel_cache_cpu.h"
#include "voxel_cache/voxel_cache_isa.h"

// Which point goes into which row: sort the points by voxel, cut the sorted points into segments of one voxel, look the
// voxels up. N points, K of them kept, S segments. Nothing is changed.
namespace mirage {
namespace {

constexpr int kDigitBits = 12;  // 4096 counters stay in the first-level cache
constexpr int64_t kBuckets = 1 << kDigitBits;
constexpr int kCutBits = 10;  // enough to cut the points into parts of about the same size
constexpr int64_t kMinPointsPerThread = 4096;  // points
constexpr int64_t kBatch = 128;  // segments whose memory is fetched together
constexpr int64_t kFewWords = 256;  // take less time to compare than counters to clear and add up

template <class Task>
void each(int64_t tasks, const Task& task) {
  parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) task(t);
  });
}

struct Part {  // of the sorted points: whole buckets of the highest digit, sorted by one thread
  int64_t first = 0, count = 0;  // words
  int64_t first_segment = 0, segments = 0, first_new = 0, added = 0;
  bool in_spare = false;
};

// Sorts words (count,) by the digits from bit `shift` up, least significant first; equal ones keep their order. True
// when the result lies in `spare`.
template <int kDigits, class Word>
bool radix_sort(Word* words, Word* spare, int64_t count, int shift) {
  const auto digit = [](Word code, int d) { return static_cast<uint32_t>(code >> (d * kDigitBits)) & (kBuckets - 1); };
  const auto counters = std::make_unique<uint32_t[]>(kDigits * kBuckets);
  for (int64_t i = 0; i < count; ++i) {
    const Word code = words[i] >> shift;
    for (int d = 0; d < kDigits; ++d) ++counters[d * kBuckets + digit(code, d)];
  }
  Word* from = words;
  Word* to = spare;
  for (int d = 0; d < kDigits; ++d) {
    uint32_t* next = counters.get() + d * kBuckets;
    if (next[digit(from[0] >> shift, d)] == count) continue;  // they are all the same
    uint32_t sum = 0;
    for (int64_t b = 0; b < kBuckets; ++b) sum += std::exchange(next[b], sum);
    for (int64_t i = 0; i < count; ++i) to[next[digit(from[i] >> shift, d)]++] = from[i];
    std::swap(from, to);
  }
  return from != words;
}

template <class Word>
bool radix_sort(Word* words, Word* spare, int64_t count, int shift, int bits) {
  if (count <= kFewWords) {
    std::sort(words, words + count);  // no two are equal: their low bits are the points' indices
    return false;
  }
  switch ((bits + kDigitBits - 1) / kDigitBits) {
    case 0:
    case 1: return radix_sort<1>(words, spare, count, shift);
    case 2: return radix_sort<2>(words, spare, count, shift);
    case 3: return radix_sort<3>(words, spare, count, shift);
    case 4: return radix_sort<4>(words, spare, count, shift);
    default: return radix_sort<6>(words, spare, count, shift);
  }
}

// A short code above the point's index, in 64 bits, or 128 where those are too few.
template <class Word>
struct Packing {
  int index_bits;

  Word pack(uint64_t code, int64_t index) const {
    return static_cast<Word>(code) << index_bits | static_cast<uint64_t>(index);
  }
  uint64_t code(Word word) const { return static_cast<uint64_t>(word >> index_bits); }
  int32_t index(Word word) const {
    return static_cast<int32_t>(static_cast<uint64_t>(word) & ((uint64_t{1} << index_bits) - 1));
  }
};

// The loops below work on copies of members, which then stay in registers: for all the compiler knows, a store to an
// array is one to a member.
template <class Word>
class Plan {
 public:
  // The codes are used up.
  Plan(uint64_t* codes, int64_t n, const std::vector<Encoded>& chunks, const ShortCode& code)
      : codes_(codes), n_(n), parts_(chunks.size()), code_(code),
        packing_{static_cast<int>(std::bit_width(static_cast<uint64_t>(n)))} {
    for (const Encoded& chunk : chunks) kept_ += chunk.kept;
    words_ = std::make_unique_for_overwrite<Word[]>(kept_);
    if (num_parts() == 1) {
      gather();
    } else {
      partition();
    }
    if constexpr (sizeof(Word) == sizeof(uint64_t)) {
      spare_ = codes;
    } else {
      more_ = std::make_unique_for_overwrite<Word[]>(kept_);
      spare_ = more_.get();
    }
    each(num_parts(), [&](int64_t p) { sort(parts_[p]); });
    for (Part& part : parts_) {
      part.first_segment = segments_;
      segments_ += part.segments;
    }
  }

  int64_t kept() const { return kept_; }
  int64_t segments() const { return segments_; }

  // Returns how many segments are new.
  int64_t write(const CachePoints& points, Fusion fusion, const HeldRows& held, const PlanArrays& out) {
    close_plan(out, kept_, segments_);
    each(num_parts(), [&](int64_t p) {
      sweep(parts_[p], points, fusion, out);
      for (int64_t s = 0; s < parts_[p].segments; s += kBatch)
        look_up(parts_[p], s, std::min(kBatch, parts_[p].segments - s), points, fusion, held, out);
    });
    if (held.rows == 0) return segments_;
    int64_t added = 0;
    for (Part& part : parts_) {
      part.first_new = added;
      added += part.added;
    }
    each(num_parts(), [&](int64_t p) {
      int32_t next = static_cast<int32_t>(held.rows + parts_[p].first_new);
      int32_t* row = out.row + parts_[p].first_segment;
      for (int64_t s = 0; s < parts_[p].segments; ++s) row[s] = row[s] < 0 ? next++ : row[s];
    });
    return added;
  }

 private:
  int64_t num_parts() const { return static_cast<int64_t>(parts_.size()); }
  const Word* sorted(const Part& part) const { return (part.in_spare ? spare_ : words_.get()) + part.first; }

  void shorten_chunk(int64_t chunk) const {
    const int64_t first = n_ * chunk / num_parts(), last = n_ * (chunk + 1) / num_parts();
    MIRAGE_KERNELS(voxel_cache_kernels).shorten_all(code_, codes_ + first, last - first);
  }

  // Calls visit(short code, index) for every kept point of a chunk.
  template <class Visit>
  void each_kept(int64_t chunk, const Visit& visit) const {
    const uint64_t* codes = codes_;
    const int64_t last = n_ * (chunk + 1) / num_parts();
    for (int64_t i = n_ * chunk / num_parts(); i < last; ++i)
      if (codes[i] != kDropped) visit(codes[i], i);
  }

  void gather() {
    shorten_chunk(0);
    Word* next = words_.get();
    each_kept(0, [&, packing = packing_](uint64_t code, int64_t i) { *next++ = packing.pack(code, i); });
    parts_[0].count = kept_;
  }

  // As many parts as chunks of points, each with consecutive codes, of about the same size.
  void partition() {
    const int64_t parts = num_parts(), cuts = 1 << kCutBits;
    const int shift = std::max(0, code_.bits - kCutBits);
    const auto counters = std::make_unique<uint32_t[]>(parts * cuts);
    each(parts, [&](int64_t c) {
      uint32_t* count = counters.get() + c * cuts;
      shorten_chunk(c);
      each_kept(c, [&](uint64_t code, int64_t) { ++count[code >> shift]; });
    });
    std::vector<int32_t> part_of(cuts);
    std::vector<int64_t> offsets(parts * parts);  // (part, chunk): where its words go
    for (int64_t b = 0, p = 0, seen = 0; b < cuts; ++b) {
      int64_t count = 0;
      for (int64_t c = 0; c < parts; ++c) count += counters[c * cuts + b];
      while (p + 1 < parts && (seen + count / 2) * parts >= kept_ * (p + 1)) ++p;
      part_of[b] = static_cast<int32_t>(p);
      for (int64_t c = 0; c < parts; ++c) offsets[p * parts + c] += counters[c * cuts + b];
      parts_[p].count += count;
      seen += count;
    }
    int64_t sum = 0;
    for (int64_t& offset : offsets) sum += std::exchange(offset, sum);
    for (int64_t p = 0; p < parts; ++p) parts_[p].first = offsets[p * parts];
    each(parts, [&](int64_t c) {
      std::vector<Word*> next(parts);  // its own: shared counters would send their cache line back and forth
      for (int64_t p = 0; p < parts; ++p) next[p] = words_.get() + offsets[p * parts + c];
      each_kept(c, [&, packing = packing_](uint64_t code, int64_t i) {
        *next[part_of[code >> shift]]++ = packing.pack(code, i);
      });
    });
  }

  void sort(Part& part) {
    if (part.count == 0) return;
    part.in_spare = radix_sort(words_.get() + part.first, spare_ + part.first, part.count, packing_.index_bits,
                               code_.bits);
    const Word* words = sorted(part);
    const Packing<Word> packing = packing_;
    int64_t segments = 1;
    for (int64_t i = 1; i < part.count; ++i) segments += packing.code(words[i]) != packing.code(words[i - 1]);
    part.segments = segments;
  }

  // One pass over the sorted points, in masks and minima without a branch: where a voxel ends cannot be predicted.
  void sweep(const Part& part, const CachePoints& points, Fusion fusion, const PlanArrays& out) const {
    const Word* words = sorted(part);
    const Packing<Word> packing = packing_;
    const float* footprint = points.footprint;
    const int64_t first = part.first, count = part.count;
    const uint64_t always = fusion == Fusion::kLatest ? ~uint64_t{0} : 0;
    uint64_t last = count == 0 ? 0 : ~packing.code(words[0]), lowest = 0;
    int64_t begin = 0;
    for (int64_t i = 0, s = part.first_segment - 1; i < count; ++i) {
      const uint64_t code = packing.code(words[i]);
      const int32_t point = packing.index(words[i]);
      const uint64_t opens = -static_cast<uint64_t>(code != last);
      const uint64_t rank = point_rank(footprint ? footprint[point] : 0.0f, static_cast<uint32_t>(point));
      lowest |= opens | always;
      lowest = rank < lowest ? rank : lowest;
      begin += (i - begin) & static_cast<int64_t>(opens);
      s -= static_cast<int64_t>(opens);
      last = code;
      out.order[first + i] = point;
      out.winner[s] = static_cast<int32_t>(lowest);
      out.starts[s] = static_cast<int32_t>(first + begin);
    }
  }

  // Keys, rows and winners of segments [first, first + count) of a part.
  void look_up(Part& part, int64_t first, int64_t count, const CachePoints& points, Fusion fusion, const HeldRows& held,
               const PlanArrays& out) const {
    const Word* words = sorted(part) - part.first;
    const int64_t at = part.first_segment + first;
    uint64_t codes[kBatch], homes[kBatch];
    for (int64_t s = 0; s < count; ++s) codes[s] = packing_.code(words[out.starts[at + s]]);
    MIRAGE_KERNELS(voxel_cache_kernels).decode(code_, codes, count, held.slots, out.key + at, homes);
    int32_t* row = out.row + at;
    if (held.rows == 0) {  // then all are new, in order
      std::iota(row, row + count, static_cast<int32_t>(at));
      return;
    }
    find_rows(held, out.key + at, homes, count, row);
    for (int64_t s = 0; s < count; ++s) {
      part.added += row[s] < 0;
      if (row[s] < 0 || fusion == Fusion::kLatest) continue;
      int32_t& winner = out.winner[at + s];
      const float size = points.footprint ? points.footprint[winner] : points.default_footprint;
      winner = winner_over_row(winner, size, held.footprint[row[s]]);
    }
  }

  static void find_rows(const HeldRows& held, const int64_t* key, const uint64_t* homes, int64_t count, int32_t* row) {
    for (int64_t s = 0; s < count; ++s) __builtin_prefetch(held.table + homes[s]);
    for (int64_t s = 0; s < count; ++s) {
      const int32_t entry = held.table[homes[s]];
      if (entry < 0) continue;
      __builtin_prefetch(held.keys + entry);
      __builtin_prefetch(held.footprint + entry);
    }
    for (int64_t s = 0; s < count; ++s)
      row[s] = find_row(held.table, held.slots, held.keys, held.rows, key[s], homes[s]);
  }

  uint64_t* codes_;
  int64_t n_;
  std::vector<Part> parts_;
  ShortCode code_;
  Packing<Word> packing_;
  int64_t kept_ = 0, segments_ = 0;
  std::unique_ptr<Word[]> words_, more_;
  Word* spare_;
};

}  // namespace

Planned VoxelCacheOnCpu::plan(const PlanOperands& in) {
  const CachePoints& points = in.points;
  const int64_t n = in.n;
  const int64_t threads = n < 2 * kMinPointsPerThread ? 1 : torch::stable::get_num_threads();
  std::vector<Encoded> chunks(std::max<int64_t>(1, std::min(threads, n / kMinPointsPerThread)));
  const int64_t count = static_cast<int64_t>(chunks.size());
  const auto codes = std::make_unique_for_overwrite<uint64_t[]>(n);
  each(count, [&](int64_t c) {
    const int64_t begin = n * c / count, end = n * (c + 1) / count;
    chunks[c] = MIRAGE_KERNELS(voxel_cache_kernels).encode(points, begin, end, codes.get() + begin);
  });
  VoxelAxes ones{0, 0, 0}, zeros{0, 0, 0};
  int64_t rejected = 0;
  for (const Encoded& chunk : chunks) {
    ones = {ones.x | chunk.ones.x, ones.y | chunk.ones.y, ones.z | chunk.ones.z};
    zeros = {zeros.x | chunk.zeros.x, zeros.y | chunk.zeros.y, zeros.z | chunk.zeros.z};
    rejected += chunk.rejected;
  }
  const ShortCode code = make_short_code(ones, zeros);
  const auto run = [&](auto word) {
    Plan<decltype(word)> plan(codes.get(), n, chunks, code);
    const int64_t k = plan.kept(), s = plan.segments();
    const Tensor words = new_empty(in.xyz, {plan_words(k, s)}, ScalarType::Long);
    const int64_t added = plan.write(points, in.fusion, in.held, split_plan(mutable_data<int64_t>(words), s));
    return Planned{words, added, rejected, k, s};
  };
  const bool fits = code.bits + std::bit_width(static_cast<uint64_t>(n)) <= 64;
  return fits ? run(uint64_t{}) : run(static_cast<unsigned __int128>(0));
}

}  // namespace mirage
