#ifndef REPRO_COMMON_TESTBED_SMALL_RECIPE_H_
#define REPRO_COMMON_TESTBED_SMALL_RECIPE_H_

#include <cstdint>

#include "common/testbed/recipe.h"

namespace repro::testbed {

// For tests that ask an untrained model: few symbols, pairs and needles. It has
// no model and no steps.
inline Recipe SmallRecipe(int64_t context) {
  Recipe recipe;
  recipe.name = "small";
  recipe.vocabulary.num_keys = 8;
  recipe.vocabulary.num_values = 8;
  recipe.vocabulary.num_text = 4;
  recipe.context = context;
  recipe.passkey_len = 2;
  recipe.stages.resize(1);
  recipe.stages[0].max_needles = 3;
  recipe.stages[0].max_pairs = 4;
  return recipe;
}

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_SMALL_RECIPE_H_
