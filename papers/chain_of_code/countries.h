#ifndef REPRO_PAPERS_CHAIN_OF_CODE_COUNTRIES_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_COUNTRIES_H_

#include <string>
#include <vector>

namespace repro::chain_of_code {

struct Country {
  std::string name;
  std::vector<std::string> places;
};

// The 188 places of Fig. 1 (in full in Fig. A5, its spellings kept) by the
// country that they are in. Panama City is taken for Panama's, not Florida's.
const std::vector<Country>& CountriesOfFigure1();

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_COUNTRIES_H_
