// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <tuple>
#include <vector>

#include "torch/tensor.h"
#include "voxel_cache/voxel_cache_isa.h"

// Which point goes into which row: sort the points by voxel, cut the sorted points into segments of one voxel, look the
// voxels up. N points, K of them kept, S segments. Nothing is changed.
namespace mirage {
namespace {

constexpr int kDigitBits = 11;  // 2048 counters stay in the first-level cache
constexpr int64_t kBuckets = 1 << kDigitBits;
constexpr int64_t kLeastPerThread = 4096;  // points
constexpr int64_t kBatch = 128;            // segments whose memory is fetched together

template <class Task>
void each(int64_t tasks, const Task& task) {
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) task(t);
  });
}

// A Morton code without the bits that are the same as the top one of their axis (turned over) for every point: those
// between the top bit and the lowest `low` ones. The order stays the same, and two or three digits are enough to sort.
class ShortCode {
 public:
  explicit ShortCode(uint32_t reach) : low_(3 * std::bit_width(reach)), mask_((uint64_t{1} << low_) - 1) {
    for (uint64_t top = 0; top < 8; ++top) {
      const uint64_t below = top ^ 7;  // the axes that are below the origin
      fill_[top] = top << 60 | ((below * 0x1249249249249249u) & (((uint64_t{1} << 60) - 1) ^ mask_));
    }
  }

  int bits() const { return low_ + 3; }
  uint64_t shorten(uint64_t code) const { return code >> 60 << low_ | (code & mask_); }
  uint64_t restore(uint64_t code) const { return fill_[code >> low_] | (code & mask_); }

 private:
  int low_;
  uint64_t mask_;
  std::array<uint64_t, 8> fill_;
};

struct Part {  // of the sorted points: whole buckets of the highest digit, sorted by one thread
  int64_t first = 0, count = 0;  // words
  int64_t first_segment = 0, segments = 0, first_new = 0, added = 0;
  bool in_spare = false;
};

// Sorts words [first, first + count) by `bits` bits from `shift` up, least significant digit first; equal ones keep
// their order. True when the result lies in `spare`.
template <class Word>
bool radix_sort(Word* words, Word* spare, int64_t count, int shift, int bits) {
  const int digits = (bits + kDigitBits - 1) / kDigitBits, width = (bits + digits - 1) / digits;
  const uint32_t mask = (1u << width) - 1;
  const auto counters = std::make_unique<uint32_t[]>(digits << width);
  for (int64_t i = 0; i < count; ++i) {
    const Word code = words[i] >> shift;
    for (int d = 0; d < digits; ++d) ++counters[(d << width) + (static_cast<uint32_t>(code >> (d * width)) & mask)];
  }
  Word* from = words;
  Word* to = spare;
  for (int d = 0; d < digits; ++d) {
    uint32_t* next = counters.get() + (d << width);
    const int low = shift + d * width;
    if (next[static_cast<uint32_t>(from[0] >> low) & mask] == count) continue;  // one bucket holds them all
    uint32_t sum = 0;
    for (uint32_t b = 0; b <= mask; ++b) sum += std::exchange(next[b], sum);
    for (int64_t i = 0; i < count; ++i) to[next[static_cast<uint32_t>(from[i] >> low) & mask]++] = from[i];
    std::swap(from, to);
  }
  return from != words;
}

struct Lookup {
  const int64_t* keys;
  const float* footprint_rows;
  const int32_t* table;
  uint64_t slots;
  int64_t rows;
};

struct Outputs {
  int32_t *order, *starts;
  int64_t* key;
  int32_t *row, *winner;
};

// Word: a short code above the point's index; 64 bits, or 128 where those are too few.
template <class Word>
class Plan {
 public:
  Plan(const uint64_t* codes, int64_t n, const std::vector<Encoded>& chunks, ShortCode code)
      : codes_(codes), n_(n), num_chunks_(static_cast<int64_t>(chunks.size())), code_(code),
        index_bits_(std::bit_width(static_cast<uint64_t>(n))) {
    for (const Encoded& chunk : chunks) kept_ += chunk.kept;
    words_ = std::make_unique_for_overwrite<Word[]>(kept_);
    spare_ = std::make_unique_for_overwrite<Word[]>(kept_);
    starts_ = std::make_unique_for_overwrite<int32_t[]>(kept_);
    gather();
    each(num_parts(), [&](int64_t p) { sort(parts_[p]); });
    for (Part& part : parts_) {
      part.first_segment = segments_;
      segments_ += part.segments;
    }
  }

  int64_t kept() const { return kept_; }
  int64_t segments() const { return segments_; }

  // Returns how many segments are new.
  int64_t write(const CachePoints& points, Fusion fusion, const Lookup& lookup, const Outputs& out) {
    out.starts[segments_] = static_cast<int32_t>(kept_);
    each(num_parts(), [&](int64_t p) {
      Part& part = parts_[p];
      const Word* sorted = words_of(part);
      for (int64_t i = 0; i < part.count; ++i) out.order[part.first + i] = index_of(sorted[i]);
      for (int64_t s = 0; s < part.segments; s += kBatch)
        write_batch(part, s, std::min(kBatch, part.segments - s), points, fusion, lookup, out);
    });
    int64_t added = 0;
    for (Part& part : parts_) {
      part.first_new = added;
      added += part.added;
    }
    each(num_parts(), [&](int64_t p) {
      int32_t next = static_cast<int32_t>(lookup.rows + parts_[p].first_new);
      int32_t* row = out.row + parts_[p].first_segment;
      for (int64_t s = 0; s < parts_[p].segments; ++s) row[s] = row[s] < 0 ? next++ : row[s];
    });
    return added;
  }

 private:
  int64_t num_parts() const { return static_cast<int64_t>(parts_.size()); }
  uint64_t code_of(Word word) const { return static_cast<uint64_t>(word >> index_bits_); }
  int32_t index_of(Word word) const {
    return static_cast<int32_t>(static_cast<uint64_t>(word) & ((uint64_t{1} << index_bits_) - 1));
  }
  const Word* words_of(const Part& part) const { return (part.in_spare ? spare_ : words_).get() + part.first; }
  int64_t chunk_start(int64_t chunk) const { return n_ * chunk / num_chunks_; }

  // Calls visit(short code, index) for every kept point of a chunk.
  template <class Visit>
  void each_kept(int64_t chunk, const Visit& visit) const {
    for (int64_t i = chunk_start(chunk); i < chunk_start(chunk + 1); ++i)
      if (codes_[i] != kDropped) visit(code_.shorten(codes_[i]), i);
  }

  // Packs the kept points into words: as many parts as chunks, of consecutive codes and about the same size.
  void gather() {
    const int64_t parts = num_chunks_;
    const int shift = std::max(0, code_.bits() - kDigitBits);
    const auto counters = std::make_unique<uint32_t[]>(parts * kBuckets);
    if (parts > 1)
      each(parts, [&](int64_t c) {
        uint32_t* count = counters.get() + c * kBuckets;
        each_kept(c, [&](uint64_t code, int64_t) { ++count[code >> shift]; });
      });
    const std::vector<int32_t> part_of = cut(counters.get());
    std::vector<int64_t> starts(parts * parts);  // (chunk, part): where its words begin
    for (int64_t c = 0; c < parts; ++c)
      for (int64_t b = 0; parts > 1 && b < kBuckets; ++b) starts[c * parts + part_of[b]] += counters[c * kBuckets + b];
    int64_t sum = 0;
    for (int64_t p = 0; p < parts; ++p)
      for (int64_t c = 0; c < parts; ++c) sum += std::exchange(starts[c * parts + p], sum);
    each(parts, [&](int64_t c) {
      int64_t* next = starts.data() + c * parts;
      each_kept(c, [&](uint64_t code, int64_t i) {
        words_[next[part_of[code >> shift]]++] = static_cast<Word>(code) << index_bits_ | static_cast<uint64_t>(i);
      });
    });
  }

  // The part of every bucket. Sets parts_.
  std::vector<int32_t> cut(const uint32_t* counters) {
    parts_.resize(num_chunks_);
    std::vector<int32_t> part_of(kBuckets);
    parts_[0].count = kept_;
    if (num_chunks_ == 1) return part_of;
    parts_[0].count = 0;
    int64_t seen = 0, p = 0;
    for (int64_t b = 0; b < kBuckets; ++b) {
      int64_t count = 0;
      for (int64_t c = 0; c < num_chunks_; ++c) count += counters[c * kBuckets + b];
      while (p + 1 < num_chunks_ && (seen + count / 2) * num_chunks_ >= kept_ * (p + 1)) parts_[++p].first = seen;
      part_of[b] = static_cast<int32_t>(p);
      parts_[p].count += count;
      seen += count;
    }
    while (++p < num_chunks_) parts_[p].first = seen;
    return part_of;
  }

  void sort(Part& part) {
    if (part.count == 0) return;
    part.in_spare = radix_sort(words_.get() + part.first, spare_.get() + part.first, part.count, index_bits_,
                               code_.bits());
    const Word* sorted = words_of(part);
    int32_t* starts = starts_.get() + part.first;
    uint64_t last = ~code_of(sorted[0]);
    for (int64_t i = 0; i < part.count; ++i) {
      const uint64_t code = code_of(sorted[i]);
      starts[part.segments] = static_cast<int32_t>(part.first + i);
      part.segments += code != last;
      last = code;
    }
  }

  void write_batch(Part& part, int64_t first, int64_t count, const CachePoints& points, Fusion fusion,
                   const Lookup& lookup, const Outputs& out) const {
    const Word* sorted = words_of(part) - part.first;
    const int32_t* starts = starts_.get() + part.first + first;
    const int64_t at = part.first_segment + first;
    uint64_t codes[kBatch], homes[kBatch];
    for (int64_t s = 0; s < count; ++s) codes[s] = code_.restore(code_of(sorted[starts[s]]));
    MIRAGE_KERNELS(voxel_cache_kernels).decode(codes, count, lookup.slots, out.key + at, homes);
    std::copy_n(starts, count, out.starts + at);
    int32_t* row = out.row + at;
    if (lookup.rows == 0) {
      std::fill_n(row, count, -1);
    } else {
      find_rows(lookup, out.key + at, homes, count, row);
    }
    for (int64_t s = 0; s < count; ++s) {
      const int64_t begin = starts[s];
      const int64_t end = first + s + 1 < part.segments ? starts[s + 1] : part.first + part.count;
      out.winner[at + s] = winner(sorted + begin, sorted + end, points, fusion, lookup, row[s]);
      part.added += row[s] < 0;
    }
  }

  static void find_rows(const Lookup& lookup, const int64_t* key, const uint64_t* homes, int64_t count, int32_t* row) {
    for (int64_t s = 0; s < count; ++s) __builtin_prefetch(lookup.table + homes[s]);
    for (int64_t s = 0; s < count; ++s) {
      const int32_t entry = lookup.table[homes[s]];
      if (entry < 0) continue;
      __builtin_prefetch(lookup.keys + entry);
      __builtin_prefetch(lookup.footprint_rows + entry);
    }
    for (int64_t s = 0; s < count; ++s)
      row[s] = find_row(lookup.table, lookup.slots, lookup.keys, lookup.rows, key[s], homes[s]);
  }

  int32_t winner(const Word* begin, const Word* end, const CachePoints& points, Fusion fusion, const Lookup& lookup,
                 int32_t row) const {
    if (fusion == Fusion::kLatest) return index_of(end[-1]);
    int32_t best = index_of(*begin);
    float least = points.default_footprint;
    if (points.footprint) {
      least = points.footprint[best];
      for (const Word* word = begin + 1; word < end; ++word) {
        const int32_t point = index_of(*word);
        if (!(points.footprint[point] < least)) continue;
        best = point;
        least = points.footprint[point];
      }
    }
    return row < 0 || least < lookup.footprint_rows[row] ? best : -1;
  }

  const uint64_t* codes_;
  int64_t n_, num_chunks_;
  ShortCode code_;
  int index_bits_;
  int64_t kept_ = 0, segments_ = 0;
  std::unique_ptr<Word[]> words_, spare_;
  std::unique_ptr<int32_t[]> starts_;  // of a part's segments, from the part's first word on
  std::vector<Part> parts_;
};

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> voxel_cache_plan(
    const Tensor& xyz, OptionalTensor valid, OptionalTensor footprint, const Tensor& keys, const Tensor& footprint_rows,
    const Tensor& table, int64_t rows, double inverse_size, double default_footprint, int64_t fusion) {
  const int64_t n = xyz.size(0), slots = table.numel();
  guard(n < INT32_MAX, "voxel_cache_plan: too many points");
  guard(fusion >= 0 && fusion <= 2, "voxel_cache_plan: unknown fusion");
  const Tensor at = expect(xyz, ScalarType::Float, {n, 3}, "voxel_cache_plan: xyz must be float32 (N, 3)");
  const OptionalTensor ok = expect(valid, ScalarType::Bool, {n}, "voxel_cache_plan: valid must be bool (N,)");
  const OptionalTensor wide = expect(footprint, ScalarType::Float, {n}, "voxel_cache_plan: footprint must be (N,)");
  const Tensor held = expect(keys, ScalarType::Long, {-1}, "voxel_cache_plan: keys must be int64 (R,)");
  const Tensor worn = expect(footprint_rows, ScalarType::Float, {-1}, "voxel_cache_plan: bad footprint_rows");
  const Tensor entries = expect(table, ScalarType::Int, {slots}, "voxel_cache_plan: table must be int32 (T,)");
  guard(rows >= 0 && rows <= held.numel() && rows <= worn.numel(), "voxel_cache_plan: rows must be within capacity");
  guard(slots >= 8 && std::has_single_bit(static_cast<uint64_t>(slots)), "voxel_cache_plan: bad size of table");

  const CachePoints points{data<float>(at), data<uint8_t>(ok), data<float>(wide), static_cast<float>(default_footprint),
                           static_cast<float>(inverse_size)};
  const int64_t threads = torch::stable::get_num_threads();
  std::vector<Encoded> chunks(std::max<int64_t>(1, std::min(threads, n / kLeastPerThread)));
  const int64_t count = static_cast<int64_t>(chunks.size());
  const auto codes = std::make_unique_for_overwrite<uint64_t[]>(n);
  each(count, [&](int64_t c) {
    const int64_t begin = n * c / count, end = n * (c + 1) / count;
    chunks[c] = MIRAGE_KERNELS(voxel_cache_kernels).encode(points, begin, end, codes.get() + begin);
  });
  uint32_t reach = 0;
  int64_t rejected = 0;
  for (const Encoded& chunk : chunks) {
    reach |= chunk.reach;
    rejected += chunk.rejected;
  }
  const ShortCode code(reach);
  const Lookup lookup{data<int64_t>(held), data<float>(worn), data<int32_t>(entries), static_cast<uint64_t>(slots),
                      rows};
  const auto finish = [&](auto word) {
    Plan<decltype(word)> plan(codes.get(), n, chunks, code);
    const int64_t s = plan.segments();
    const auto empty = [&](int64_t size, ScalarType dtype) { return empty_like(xyz, {size}, dtype); };
    const Tensor order = empty(plan.kept(), ScalarType::Int), starts = empty(s + 1, ScalarType::Int);
    const Tensor key = empty(s, ScalarType::Long), row = empty(s, ScalarType::Int), winner = empty(s, ScalarType::Int);
    const Tensor counts = empty(2, ScalarType::Long);
    mutable_data<int64_t>(counts)[0] =
        plan.write(points, static_cast<Fusion>(fusion), lookup,
                   {mutable_data<int32_t>(order), mutable_data<int32_t>(starts), mutable_data<int64_t>(key),
                    mutable_data<int32_t>(row), mutable_data<int32_t>(winner)});
    mutable_data<int64_t>(counts)[1] = rejected;
    return std::tuple(order, starts, key, row, winner, counts);
  };
  const bool fits = code.bits() + std::bit_width(static_cast<uint64_t>(n)) <= 64;
  return fits ? finish(uint64_t{}) : finish(static_cast<unsigned __int128>(0));
}

}  // namespace
}  // namespace mirage

STABLE_TORCH_LIBRARY_IMPL(mirage_kernels, CPU, m) {
  m.impl("voxel_cache_plan", TORCH_BOX(&mirage::voxel_cache_plan));
}
