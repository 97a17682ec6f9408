// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#include "overlap/overlap_isa.h"

namespace mirage {
namespace MIRAGE_ISA {
namespace {

constexpr int kBlock = kPointBlock;
constexpr int kWords = kBlock / 64;
static_assert(kBlock % 64 == 0);  // a block sets whole words of bits

// Eight bytes of 0 or 1 are gathered into one by a multiplication: byte k, at bit 8 k, arrives at bit 56 + k.
void pack_bits(const uint8_t* seen, uint64_t* words) {
  for (int i = 0; i < kWords; ++i) {
    uint64_t word = 0;
    for (int byte = 0; byte < 8; ++byte) {
      uint64_t flags = 0;
      __builtin_memcpy(&flags, seen + 64 * i + 8 * byte, sizeof(flags));
      word |= ((flags * 0x0102040810204080u) >> 56) << (8 * byte);
    }
    words[i] = word;
  }
}

void mark_block(const PointBlock& block, const View& view, int h, int w, uint64_t* words) {
  const Rigid m = view.world2cam;
  const Pinhole pinhole = view.pinhole;
  alignas(64) uint8_t seen[kBlock];
#pragma GCC ivdep
  for (int k = 0; k < kBlock; ++k) seen[k] = is_visible(m, pinhole, block.x[k], block.y[k], block.z[k], h, w);
  pack_bits(seen, words);
}

void set_groups(const uint64_t* words, const int64_t* groups, int64_t num_groups, uint64_t* bits) {
  for (int i = 0; i < kWords; ++i) {
    for (uint64_t left = words[i]; left != 0; left &= left - 1) {
      const GroupBit at = bit_of_group(groups[64 * i + __builtin_ctzll(left)], num_groups);
      bits[at.word] |= at.bit;
    }
  }
}

void mark_visible(const GroupedPoints& points, const VisibleJob& job) {
  PointBlock block;
  for (int64_t first = job.first; first < job.last; first += kBlock) {
    const int64_t count = job.last - first;
    load_points(points.xyz + 3 * first, points.valid ? points.valid + first : nullptr, count, kBlock, block);
    bound_points(block);
    for (int64_t v = 0; v < job.num_views; ++v) {
      if (is_culled(job.views[v].frustum, block.box, 0.0f)) continue;
      uint64_t words[kWords];
      mark_block(block, job.views[v], job.h, job.w, words);
      uint64_t* bits = job.bits + v * job.words;
      if (points.groups) {
        set_groups(words, points.groups + first, points.num_groups, bits);
      } else {
        for (int i = 0; i < kWords && 64 * i < count; ++i) bits[first / 64 + i] = words[i];
      }
    }
  }
}

void join(uint64_t* bits, const uint64_t* others, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) bits[i] |= others[i];
}

MIRAGE_HD int64_t count_all(const uint64_t* a, const uint64_t* b, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += count_bits(a[i] & b[i]);
  return sum;
}

int64_t count_common(const uint64_t* a, const uint64_t* b, int64_t n) { return count_all(a, b, n); }

#if defined(__AVX512F__)
// An instruction that counts eight words at once, which not every machine with AVX-512 has.
__attribute__((target("avx512vpopcntdq"))) int64_t count_common_wide(const uint64_t* a, const uint64_t* b, int64_t n) {
  return count_all(a, b, n);
}

int64_t count_common_best(const uint64_t* a, const uint64_t* b, int64_t n) {
  return __builtin_cpu_supports("avx512vpopcntdq") ? count_common_wide(a, b, n) : count_common(a, b, n);
}
#else
constexpr auto count_common_best = count_common;
#endif

// Adds a set to the numbers of holders, or with kLeaves takes it away.
template <bool kLeaves>
void count_holders(const KeepJob& job, int64_t set) {
  const uint64_t* bits = job.bits + set * job.words;
  for (int64_t w = 0; w < job.words; ++w) job.alone[w] = bits[w];  // carried, or borrowed
  for (int d = 0; d < job.digits; ++d) {
    uint64_t* digit = job.holders + d * job.words;
#pragma GCC ivdep
    for (int64_t w = 0; w < job.words; ++w) {
      const uint64_t carried = job.alone[w], before = digit[w];
      digit[w] = before ^ carried;
      job.alone[w] = (kLeaves ? ~before : before) & carried;
    }
  }
}

// The bits of `among` (W,), or all, that one set alone has.
void find_alone(const KeepJob& job, const uint64_t* among) {
  for (int64_t w = 0; w < job.words; ++w) job.alone[w] = (among ? among[w] : ~uint64_t{0}) & job.holders[w];
  for (int d = 1; d < job.digits; ++d) {
    const uint64_t* digit = job.holders + d * job.words;
#pragma GCC ivdep
    for (int64_t w = 0; w < job.words; ++w) job.alone[w] &= ~digit[w];
  }
}

void keep(const KeepJob& job) {
  const int64_t words = job.words;
  for (int64_t i = 0; i < job.digits * words; ++i) job.holders[i] = 0;
  for (int64_t s = 0; s < job.sets; ++s) count_holders<false>(job, s);
  find_alone(job, nullptr);
  for (int64_t s = 0; s < job.sets; ++s) {
    job.own[s] = count_common_best(job.bits + s * words, job.alone, words);
    job.is_kept[s] = 1;
  }
  for (int64_t left = job.sets; left > job.count; --left) {
    int64_t leaving = -1;
    for (int64_t s = 0; s < job.sets; ++s)
      if (job.is_kept[s] && (leaving < 0 || job.own[s] < job.own[leaving])) leaving = s;
    job.is_kept[leaving] = 0;
    count_holders<true>(job, leaving);
    find_alone(job, job.bits + leaving * words);
    for (int64_t s = 0; s < job.sets; ++s)
      if (job.is_kept[s]) job.own[s] += count_common_best(job.bits + s * words, job.alone, words);
  }
}

}  // namespace

extern const OverlapKernels overlap_kernels{mark_visible, join, count_common_best, keep};

}  // namespace MIRAGE_ISA
}  // namespace mirage
