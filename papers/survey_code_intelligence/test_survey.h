#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_TEST_SURVEY_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_TEST_SURVEY_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "papers/survey_code_intelligence/survey.h"

namespace repro::survey_code_intelligence {

// The files of a survey of five references, valid as they are.
std::map<std::string, std::string> SmallFiles();

// Writes files to the tests' folder, over those that are there, and reads all
// twelve.
absl::StatusOr<Survey> ReadFiles(
    const std::map<std::string, std::string>& files);

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_TEST_SURVEY_H_
