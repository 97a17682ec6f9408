// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/hostdev.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Moving features between (point, channel) and (channel, cell) order is a transpose of raw 2- or 4-byte words.
// It goes through 16-byte registers in square tiles of L x L words, by log2(L) rounds of interleaving. Wider
// registers were tried: slower on AVX2, where shuffles stop at the half, and within 10 % on AVX-512.
namespace mirage {

template <class Word>
constexpr int kTile = 16 / sizeof(Word);

template <class Word>
struct Tile {
  static constexpr int L = kTile<Word>;
  typedef Word Vector __attribute__((vector_size(16)));

  template <int... I>
  struct Lanes {};
  template <int N, int... I>
  struct Count : Count<N - 1, N - 1, I...> {};
  template <int... I>
  struct Count<0, I...> {
    using type = Lanes<I...>;
  };

  // Words First, First + L, First + 1, First + 1 + L, ... of the pair (a, b); First is 0 or L / 2.
  template <int First, int... I>
  static MIRAGE_HD Vector interleave(Vector a, Vector b, Lanes<I...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, (First + I / 2 + (I % 2) * L)...);
#else
    return __builtin_shuffle(a, b, Vector{static_cast<Word>(First + I / 2 + (I % 2) * L)...});
#endif
  }

  static MIRAGE_HD void transpose(Vector (&rows)[L]) {
    constexpr typename Count<L>::type lanes{};
    for (int round = 1; round < L; round *= 2) {
      Vector next[L];
      for (int r = 0; r < L / 2; ++r) {
        next[2 * r] = interleave<0>(rows[r], rows[r + L / 2], lanes);
        next[2 * r + 1] = interleave<L / 2>(rows[r], rows[r + L / 2], lanes);
      }
      for (int r = 0; r < L; ++r) rows[r] = next[r];
    }
  }

  template <bool kStream>
  static MIRAGE_HD void store(Word* out, Vector value) {
#if defined(__SSE2__)
    if (kStream) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(out), reinterpret_cast<__m128i>(value));
      return;
    }
#endif
    __builtin_memcpy(out, &value, sizeof(value));
  }
};

// out[c * stride + r] = rows[r][c] for r < count and c < length. With kStream the stores go past the caches, for an
// output that is larger than they are: it would push out what is still to be read, and be fetched before it is written.
// That needs `out` and the stride on multiples of 16 bytes (see can_stream), and stream_fence() at the end.
template <class Word, bool kStream = false>
MIRAGE_HD void transpose(const Word* const* rows, int64_t count, int64_t length, Word* out, int64_t stride) {
  using T = Tile<Word>;
  constexpr int L = T::L;
  const int64_t whole_rows = count - count % L, whole_length = length - length % L;
  for (int64_t c = 0; c < whole_length; c += L) {
    for (int64_t k = 0; k < whole_rows; k += L) {  // along the output, so that its lines are completed one by one
      typename T::Vector tile[L];
      for (int r = 0; r < L; ++r) __builtin_memcpy(&tile[r], rows[k + r] + c, sizeof(tile[r]));
      T::transpose(tile);
      for (int r = 0; r < L; ++r) T::template store<kStream>(out + (c + r) * stride + k, tile[r]);
    }
  }
  for (int64_t c = 0; c < length; ++c)
    for (int64_t k = c < whole_length ? whole_rows : 0; k < count; ++k) out[c * stride + k] = rows[k][c];
}

#if defined(__SSE2__)
template <class Word>
MIRAGE_HD bool can_stream(const Word* out, int64_t stride) {
  return (reinterpret_cast<uintptr_t>(out) | static_cast<uintptr_t>(stride * sizeof(Word))) % 16 == 0;
}
MIRAGE_HD void stream_fence() { _mm_sfence(); }
#else
template <class Word>
MIRAGE_HD bool can_stream(const Word*, int64_t) {
  return false;
}
MIRAGE_HD void stream_fence() {}
#endif

}  // namespace mirage
