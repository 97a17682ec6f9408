// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "unproject/unproject_isa.h"

#if defined(__AVX2__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 warns of the undefined vectors that its headers pass
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int32_t kPrefetchDistance = 64;  // pixels
constexpr int kGuesses = 8;
constexpr int32_t kFewPixels = 48;  // take less time to split than to reduce to bits
constexpr int32_t kUsualColumns = 16;  // of a cell's pixels

#if defined(__AVX512BW__)
typedef uint32_t Words __attribute__((vector_size(64)));
#elif defined(__AVX2__)
typedef uint32_t Words __attribute__((vector_size(32)));
#else
typedef uint32_t Words __attribute__((vector_size(16)));
#endif
constexpr int32_t kWords = sizeof(Words) / sizeof(uint32_t);

struct
    Cell {  // the pixels of one cell, row-major: one less than the bits of their depths, so that valid ones sort first
  const uint32_t* values;
  int32_t pixels, masked, valid;
  uint32_t lowest, highest;  // of the valid ones

  // Subtracting bound + 1 turns the ring of integers so that the values above the bound come first and those up to it
  // last: a plain minimum and maximum, where conditional ones would not vectorize. (One pass for all three costs little
  // more than one for each: adding up a vector's lanes takes as long as reading the values.)
  Split split(uint32_t bound, int32_t rank) const {
    int32_t up_to = 0;
    uint32_t first = 0xffffffffu, last = 0;
    for (int32_t k = 0; k < pixels; ++k) {
      const uint32_t turned = values[k] - (bound + 1u);
      up_to += values[k] <= bound;
      first = turned < first ? turned : first;
      last = turned > last ? turned : last;
    }
    return {up_to, (up_to > rank ? last : first) + (bound + 1u)};
  }
};

// The number, minimum and maximum of the valid values among all that were added, in the lanes of vectors.
class ValidRange {
 public:
  void add(const Words& values) {
    const Words turned = values - kLargest;  // turns the ring of integers so that the valid values come last
    valid_ -= reinterpret_cast<Words>(values < kLargest);
    lowest_ = values < lowest_ ? values : lowest_;
    highest_ = turned > highest_ ? turned : highest_;
  }

  Cell cell(const uint32_t* values, int32_t pixels, int32_t masked) const {
    uint32_t valid = 0, lowest = kUnusable, highest = 0;
    for (int k = 0; k < kWords; ++k) {
      valid += valid_[k];
      lowest = lowest_[k] < lowest ? lowest_[k] : lowest;
      highest = highest_[k] > highest ? highest_[k] : highest;
    }
    return {values, pixels, masked, static_cast<int32_t>(valid), lowest, highest + kLargest};
  }

 private:
  Words valid_{}, lowest_ = Words{} - 1u, highest_{};
};

// Copies the rows of a cell behind one another, so that every later loop is one long one.
template <int kColumns>  // or 0
Cell gather_rows(const DepthMap& map, PixelRange rows, PixelRange columns, uint32_t* values) {
  const int32_t n = kColumns > 0 ? kColumns : columns.last - columns.first;
  int32_t pixels = 0, masked = 0;
  ValidRange range;
  for (int32_t r = rows.first; r < rows.last; ++r, pixels += n) {
    const int64_t at = r * map.width + columns.first;
    const float* depth = map.depth + at;
    __builtin_prefetch(depth + kPrefetchDistance);  // more rows than the hardware follows by itself
    if constexpr (kColumns > 0) {
      for (int32_t k = 0; k < n; k += kWords) {
        Words words;
        __builtin_memcpy(&words, depth + k, sizeof(words));
        words -= 1u;
        __builtin_memcpy(values + pixels + k, &words, sizeof(words));
        range.add(words);
      }
      continue;
    }
    for (int32_t k = 0; k < n; ++k) values[pixels + k] = float_bits(depth[k]) - 1u;
    if (!map.mask) continue;
    for (int32_t k = 0; k < n; ++k) {
      values[pixels + k] |= map.mask[at + k] != 0 ? kUnusable : 0;
      masked += map.mask[at + k] != 0;
    }
  }
  if constexpr (kColumns == 0) {
    for (int32_t k = pixels; k % kWords != 0; ++k) values[k] = kUnusable;
    for (int32_t k = 0; k < pixels; k += kWords) {
      Words words;
      __builtin_memcpy(&words, values + k, sizeof(words));
      range.add(words);
    }
  }
  return range.cell(values, pixels, masked);
}

Cell gather(const DepthMap& map, PixelRange rows, PixelRange columns, uint32_t* values) {
  const bool usual = !map.mask && columns.last - columns.first == kUsualColumns;
  return usual ? gather_rows<kUsualColumns>(map, rows, columns, values) : gather_rows<0>(map, rows, columns, values);
}

uint32_t select(const Cell& cell, int32_t rank) {
  return select_rank<kGuesses>(cell.lowest, cell.highest, rank, cell.valid, cell);
}

#if defined(__AVX2__)
// The values of a cell, reduced to bytes that sort alike, as eight planes of bits: plane b has bit b of each.
class BitPlanes {
 public:
  static constexpr int32_t kMostPixels = 1024;

  BitPlanes(const Cell& cell, uint8_t* bytes)
      : words_(static_cast<int>(ceil_div(cell.pixels, 64))), last_(~uint64_t{0} >> (64 * words_ - cell.pixels)) {
    const uint32_t range = cell.highest - cell.lowest;  // not 0
    const int bits = 32 - __builtin_clz(range), shift = bits > 8 ? bits - 8 : 0;
    const __m256i lowest = _mm256_set1_epi32(static_cast<int>(cell.lowest)), most = _mm256_set1_epi32(255);
    const __m128i by = _mm_cvtsi32_si128(shift);
    const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const auto reduce = [&](const uint32_t* values) {
      const __m256i from_lowest = _mm256_sub_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)),
                                                   lowest);
      return _mm256_min_epu32(_mm256_srl_epi32(from_lowest, by), most);
    };
    int32_t k = 0;
#if defined(__AVX512BW__)
    const __m512i lowest16 = _mm512_set1_epi32(static_cast<int>(cell.lowest));
    const auto bytes_of = [&](const uint32_t* values) {  // the largest is 255
      return _mm512_cvtusepi32_epi8(_mm512_srl_epi32(_mm512_sub_epi32(_mm512_loadu_si512(values), lowest16), by));
    };
    for (; k + 64 <= cell.pixels; k += 64) {
      const uint32_t* values = cell.values + k;
      const __m256i first = _mm256_set_m128i(bytes_of(values + 16), bytes_of(values));
      const __m256i second = _mm256_set_m128i(bytes_of(values + 48), bytes_of(values + 32));
      split(_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1), k / 64);
    }
    const int whole = k / 64;
#else
    const int whole = 0;
#endif
    for (; k + 32 <= cell.pixels; k += 32) {
      const uint32_t* values = cell.values + k;
      const __m256i words = _mm256_packus_epi16(_mm256_packus_epi32(reduce(values), reduce(values + 8)),
                                                _mm256_packus_epi32(reduce(values + 16), reduce(values + 24)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + k), _mm256_permutevar8x32_epi32(words, in_order));
    }
    for (; k < cell.pixels; ++k) {
      const uint32_t byte = (cell.values[k] - cell.lowest) >> shift;
      bytes[k] = static_cast<uint8_t>(byte < 255 ? byte : 255);
    }
    for (; k < 64 * words_; ++k) bytes[k] = 255;
    for (int w = whole; w < words_; ++w) split(bytes + 64 * w, w);
  }

  // Among the lowest bytes that are as high as that of a rank (from 0): sets their bits, and leaves in `rank` the rank
  // among them.
  void select(int32_t& rank, uint64_t* members) const {
    if (words_ == 4) {
      select<4>(rank, members);
    } else {
      select<0>(rank, members);
    }
  }

 private:
#if defined(__AVX512BW__)
  void split(__m512i x, int w) {
    for (int b = 7; b >= 0; --b, x = _mm512_add_epi8(x, x)) planes_[b][w] = _mm512_movepi8_mask(x);
  }
  void split(const uint8_t* bytes, int w) { split(_mm512_loadu_si512(bytes), w); }
#else
  void split(const uint8_t* bytes, int w) {
    __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + 32));
    for (int b = 7; b >= 0; --b, x = _mm256_add_epi8(x, x), y = _mm256_add_epi8(y, y))
      planes_[b][w] = static_cast<uint32_t>(_mm256_movemask_epi8(x)) |
                      static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(y))) << 32;
  }
#endif

  template <int kWords>  // or 0
  void select(int32_t& rank, uint64_t* members) const {
    const int words = kWords > 0 ? kWords : words_;
    for (int w = 0; w < words; ++w) members[w] = ~uint64_t{0};
    members[words - 1] = last_;  // no pixel fills up the last word
    for (int b = 7; b >= 0; --b) {
      const uint64_t* plane = planes_[b];
      int32_t clear = 0;
      for (int w = 0; w < words; ++w) clear += static_cast<int32_t>(__builtin_popcountll(members[w] & ~plane[w]));
      const uint64_t flip = -static_cast<uint64_t>(rank < clear);  // which way cannot be predicted: no branch
      rank -= clear & ~static_cast<int32_t>(flip);
      for (int w = 0; w < words; ++w) members[w] &= plane[w] ^ flip;
    }
  }

  int words_;
  uint64_t last_;  // the pixels of the last word
  uint64_t planes_[8][kMostPixels / 64];
};

// Those of the values whose bits are set, copied to `to`.
Cell collect(const Cell& cell, const uint64_t* members, uint32_t* to) {
  Cell some{to, 0, 0, 0, kUnusable, 0};
#if defined(__AVX512F__)
  const auto bits_at = [&](int32_t k) { return static_cast<__mmask16>(members[k / 64] >> (k % 64)); };
  __m512i lowest = _mm512_set1_epi32(-1), highest = _mm512_setzero_si512();
  for (int32_t k = 0; k < cell.pixels; k += 16) {
    const __m512i values = _mm512_loadu_si512(cell.values + k);
    lowest = _mm512_mask_min_epu32(lowest, bits_at(k), lowest, values);
    highest = _mm512_mask_max_epu32(highest, bits_at(k), highest, values);
  }
  some.lowest = _mm512_reduce_min_epu32(lowest);
  some.highest = _mm512_reduce_max_epu32(highest);
  if (some.lowest == some.highest) return some;  // as depth in whole millimeters mostly is: which ones does not matter
  for (int32_t k = 0; k < cell.pixels; k += 16) {
    _mm512_storeu_si512(to + some.pixels, _mm512_maskz_compress_epi32(bits_at(k), _mm512_loadu_si512(cell.values + k)));
    some.pixels += __builtin_popcount(bits_at(k));
  }
#else
  for (int32_t w = 0; 64 * w < cell.pixels; ++w) {
    for (uint64_t left = members[w]; left != 0; left &= left - 1) {
      const uint32_t value = cell.values[64 * w + __builtin_ctzll(left)];
      to[some.pixels++] = value;
      some.lowest = value < some.lowest ? value : some.lowest;
      some.highest = value > some.highest ? value : some.highest;
    }
  }
#endif
  some.valid = some.pixels;
  return some;
}

// `scratch` has room for the values again, and for their bytes. A pass over all values splits them in two; eight passes
// over bits leave a few of them.
uint32_t lower_median(const Cell& cell, uint32_t* scratch) {
  int32_t rank = (cell.valid - 1) / 2;
  if (cell.pixels <= kFewPixels || cell.pixels > BitPlanes::kMostPixels || cell.lowest == cell.highest)
    return select(cell, rank);
  const BitPlanes planes(cell, reinterpret_cast<uint8_t*>(scratch + cell.pixels));
  uint64_t members[BitPlanes::kMostPixels / 64];
  planes.select(rank, members);
  return select(collect(cell, members, scratch), rank);
}
#else
uint32_t lower_median(const Cell& cell, uint32_t*) { return select(cell, (cell.valid - 1) / 2); }
#endif

void pool_row(const DepthMap& map, const PoolRule& rule, const Grid& grid, int64_t i, uint32_t* scratch, float* depth,
              int64_t* pixel) {
  const PixelRange rows = pixels_of(i, grid.h, map.height);
  for (int64_t j = 0; j < grid.w; ++j) {
    const PixelRange columns = pixels_of(j, grid.w, map.width);
    const Cell cell = gather(map, rows, columns, scratch);
    depth[j] = 0.0f;
    if (pixel) pixel[j] = -1;
    if (!enough(cell.valid, cell.masked, cell.pixels, rule.min_valid, rule.max_masked)) continue;
    if (rule.pooling == Pooling::kBilinear) {
      depth[j] = interpolate_depth(map, taps_of(i, grid.h, map.height), taps_of(j, grid.w, map.width));
      continue;
    }
    uint32_t value;
    if (rule.pooling == Pooling::kNearest) {
      const int64_t at = pixel_under_cell(map, grid, i, j);
      value = pixel_at(map, at);
      if (value == kUnusable) continue;
      if (pixel) pixel[j] = at;
    } else {
      const uint32_t chosen = rule.pooling == Pooling::kMin ? cell.lowest : lower_median(cell, scratch + cell.pixels);
      if (pixel) {
        int32_t k = 0;
        while (cell.values[k] != chosen) ++k;
        const int32_t n = columns.last - columns.first;
        pixel[j] = (rows.first + k / n) * map.width + columns.first + k % n;
      }
      value = chosen + 1u;
    }
    depth[j] = bits_float(value);
  }
}

void lift_row(const Rigid& cam2world, const Pinhole& pinhole, int64_t i, int64_t w, const float* depth, float* xyz,
              float* footprint, uint8_t* valid) {
  const Rigid m = cam2world;
  const Pinhole k = pinhole;
#pragma GCC ivdep
  for (int64_t j = 0; j < w; ++j) {
    const LiftedCell cell = lift_cell(m, k, static_cast<int>(i), static_cast<int>(j), depth[j]);
    xyz[3 * j] = cell.x;
    xyz[3 * j + 1] = cell.y;
    xyz[3 * j + 2] = cell.z;
    footprint[j] = cell.footprint;
    valid[j] = cell.valid;
  }
}

}  // namespace

extern const UnprojectKernels unproject_kernels{pool_row, lift_row};

}  // namespace MIRAGE_ISA
}  // namespace mirage
