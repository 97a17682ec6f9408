// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// bfloat16 and float16 as raw words, for sums that run in float32 and round once (to nearest, ties to even).
// Integer arithmetic throughout: the same bits on every machine, and loops over it vectorize.
namespace mirage {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

MIRAGE_HD float to_float(float x) { return x; }

MIRAGE_HD float to_float(BFloat16 x) { return bits_float(static_cast<uint32_t>(x.bits) << 16); }

MIRAGE_HD float to_float(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(x.bits & 0x7fffu) << 13;
  // Place the 5-bit exponent in the 8-bit field and rescale by 2^112: exact, subnormals included.
  const uint32_t scaled = float_bits(bits_float(magnitude) * 0x1p112f);
  const bool special = (x.bits & 0x7c00u) == 0x7c00u;
  return bits_float(sign | (special ? magnitude | 0x7f800000u : scaled));
}

MIRAGE_HD void from_float(float x, float* out) { *out = x; }

MIRAGE_HD void from_float(float x, BFloat16* out) {
  const uint32_t bits = float_bits(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  out->bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

MIRAGE_HD void from_float(float x, Float16* out) {
  const uint32_t bits = float_bits(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal: rebias the exponent by 112 and round the 13 dropped bits. A carry into infinity is what is wanted.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 0.5 leaves the subnormal, rounded by the addition itself, in the low bits.
  const uint32_t subnormal = float_bits(bits_float(magnitude) + 0.5f) - float_bits(0.5f);
  uint32_t half = magnitude < (113u << 23) ? subnormal : normal;
  half = magnitude >= (143u << 23) ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  out->bits = static_cast<uint16_t>(sign | half);
}

}  // namespace mirage
