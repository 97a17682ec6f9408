// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cpu/point_block.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

// The lanes of a block that are marked, one after another. For *_isa.cpp only.
namespace mirage {
namespace MIRAGE_ISA {
namespace {

struct LaneNumbers {
  alignas(64) int32_t number[kPointBlock];

  constexpr LaneNumbers() : number() {
    for (int k = 0; k < kPointBlock; ++k) number[k] = k;
  }
};
constexpr LaneNumbers kLaneNumbers;

#if defined(__AVX512F__)
constexpr int kPacked = 16;  // lanes at once

MIRAGE_HD uint32_t marked_lanes(const int32_t* mark) {
  return _mm512_cmpge_epi32_mask(_mm512_load_si512(mark), _mm512_setzero_si512());
}

// The words of some of kPacked lanes.
MIRAGE_HD void pack(const void* words, uint32_t lanes, void* out) {
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(lanes), _mm512_loadu_si512(words)));
}
#elif defined(__AVX2__)
constexpr int kPacked = 8;

struct Packings {  // which lane comes to each place, for every choice of lanes
  alignas(64) uint8_t lane[256][8];

  constexpr Packings() : lane() {
    for (int lanes = 0; lanes < 256; ++lanes)
      for (int l = 0, n = 0; l < 8; ++l)
        if (lanes >> l & 1) lane[lanes][n++] = static_cast<uint8_t>(l);
  }
};
constexpr Packings kPackings;

MIRAGE_HD uint32_t marked_lanes(const int32_t* mark) {
  const __m256i words = _mm256_load_si256(reinterpret_cast<const __m256i*>(mark));
  return ~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(words))) & 0xffu;
}

MIRAGE_HD void pack(const void* words, uint32_t lanes, void* out) {
  const __m128i order = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kPackings.lane[lanes]));
  const __m256i all = _mm256_loadu_si256(static_cast<const __m256i*>(words));
  _mm256_storeu_si256(static_cast<__m256i*>(out), _mm256_permutevar8x32_epi32(all, _mm256_cvtepu8_epi32(order)));
}
#else
constexpr int kPacked = 8;

#if defined(__SSE2__)
MIRAGE_HD uint32_t marked_lanes(const int32_t* mark) {
  const int low = _mm_movemask_ps(_mm_load_ps(reinterpret_cast<const float*>(mark)));
  const int high = _mm_movemask_ps(_mm_load_ps(reinterpret_cast<const float*>(mark + 4)));
  return ~static_cast<uint32_t>(low | high << 4) & 0xffu;
}
#else
MIRAGE_HD uint32_t marked_lanes(const int32_t* mark) {
  uint32_t lanes = 0;
  for (int l = 0; l < kPacked; ++l) lanes |= (~static_cast<uint32_t>(mark[l]) >> 31) << l;
  return lanes;
}
#endif

MIRAGE_HD void pack(const void* words, uint32_t lanes, void* out) {
  if (lanes == 0) return;
  int n = 0;
  for (int l = 0; l < kPacked; ++l) {  // always written, and kept if the next one comes behind it
    __builtin_memcpy(static_cast<int32_t*>(out) + n, static_cast<const int32_t*>(words) + l, sizeof(int32_t));
    n += lanes >> l & 1;
  }
}
#endif

// Packs the 4-byte words of those of the first lanes with mark >= 0, in place or not; returns how many. Outputs have room
// for kLanes more.
template <int kArrays>
MIRAGE_HD int pack_words(const int32_t* mark, int lanes, const void* const (&from)[kArrays],
                         void* const (&to)[kArrays]) {
  const int32_t* source[kArrays];  // copies, which nothing written to may change
  int32_t* target[kArrays];
  for (int array = 0; array < kArrays; ++array) {
    source[array] = static_cast<const int32_t*>(from[array]);
    target[array] = static_cast<int32_t*>(to[array]);
  }
  int n = 0;
  for (int k = 0; k < lanes; k += kPacked) {
    const uint32_t marked = marked_lanes(mark + k);
#pragma GCC unroll 8
    for (int array = 0; array < kArrays; ++array) pack(source[array] + k, marked, target[array] + n);
    n += __builtin_popcount(marked);
  }
  return n;
}

// The lanes with mark >= 0 themselves.
MIRAGE_HD int pack_marked(const int32_t* mark, int lanes, int32_t* hits) {
  return pack_words<1>(mark, lanes, {kLaneNumbers.number}, {hits});
}

}  // namespace
}  // namespace MIRAGE_ISA
}  // namespace mirage
