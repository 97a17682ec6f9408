// SPDX-FileCopyrightText: 2026 The Mirage authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hostdev.h"

// Numbers in 8 bits: steps of a scale that many share.
namespace mirage {

// One scale per row: the largest magnitude is 127.
MIRAGE_HD float int8_scale(float largest) { return largest / 127.0f; }

// -127 .. 127. Adding and taking away 1.5 * 2^23 rounds to nearest, ties to even. A scale that has lost bits to
// underflow can leave a quotient above 127.
MIRAGE_HD int32_t int8_steps(float x, float scale) {
  const float steps = (x / scale + 12582912.0f) - 12582912.0f;
  const float high = steps < 127.0f ? steps : 127.0f;
  const float in = high > -127.0f ? high : -127.0f;
  return static_cast<int32_t>(scale > 0.0f ? in : 0.0f);
}

}  // namespace mirage
