instructions = question.split("point? ")[1].split("\n")[0].rstrip(".").split(". ")
x, y = 0, 0
dx, dy = 0, 1
for instruction in instructions:
  words = instruction.split()
  if words[0] == "Take":
    steps = int(words[1])
    direction = words[3] if len(words) > 3 else "forward"
    if direction == "forward":
      x, y = x + steps * dx, y + steps * dy
    if direction == "backward":
      x, y = x - steps * dx, y - steps * dy
    if direction == "left":
      x, y = x - steps * dy, y + steps * dx
    if direction == "right":
      x, y = x + steps * dy, y - steps * dx
  elif instruction == "Turn left":
    dx, dy = -dy, dx
  elif instruction == "Turn right":
    dx, dy = dy, -dx
  elif instruction == "Turn around":
    dx, dy = -dx, -dy
answer = "Yes" if (x, y) == (0, 0) else "No"
