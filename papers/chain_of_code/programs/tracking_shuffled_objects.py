import re
story, options = question.split("\nOptions:\n")
holds = {}
start = story.split(": ", 1)[1].split("\n")[0].rstrip(".")
for part in re.split(r", (?:and )?(?=[A-Z][a-z]* (?:gets|has|is) )", start):
  match = re.match(r"(\w+) (?:gets|has|is dancing with|is playing) (.+)", part)
  holds[match[1]] = re.sub(r"^(?:an?|the) ", "", match[2])
for a, b in re.findall(r"(\w+) and (\w+) (?:swap|trade|switch)", story.split("\n")[1]):
  holds[a], holds[b] = holds[b], holds[a]
asked = re.search(r"At the end of [^,]*, (\w+)", story)[1]
for letter, option in re.findall(r"(\(\w\)) (.+)", options):
  if re.sub(r"^(?:an?|the) ", "", option.rstrip(".")).lower() == holds[asked].lower():
    answer = letter
