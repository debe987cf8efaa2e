#ifndef REPRO_TOOLS_REPORT_TEMPLATES_H_
#define REPRO_TOOLS_REPORT_TEMPLATES_H_

namespace repro {

// The files page.* of this folder, built into the program.
extern const char kPageHtml[];
extern const char kPageMarkdown[];
extern const char kPageCss[];
extern const char kPageScript[];

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_TEMPLATES_H_
