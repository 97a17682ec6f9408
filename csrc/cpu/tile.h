// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "../common/hostdev.h"

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
};

// out[c * stride + r] = rows[r][c] for r < count <= kTile and c < length.
template <class Word>
MIRAGE_HD void transpose_rows(const Word* const* rows, int count, int64_t length, Word* out, int64_t stride) {
  using T = Tile<Word>;
  constexpr int L = T::L;
  int64_t c = 0;
  if (count == L) {
    for (; c + L <= length; c += L) {
      typename T::Vector tile[L];
      for (int r = 0; r < L; ++r) __builtin_memcpy(&tile[r], rows[r] + c, sizeof(tile[r]));
      T::transpose(tile);
      for (int r = 0; r < L; ++r) __builtin_memcpy(out + (c + r) * stride, &tile[r], sizeof(tile[r]));
    }
  }
  for (; c < length; ++c)
    for (int r = 0; r < count; ++r) out[c * stride + r] = rows[r][c];
}

}  // namespace mirage
