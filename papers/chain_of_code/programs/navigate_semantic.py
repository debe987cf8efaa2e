instructions = question.split("point? ")[1].split("\n")[0].rstrip(".").split(". ")
x, y = 0, 0
dx, dy = 0, 1
for i, instruction in enumerate(instructions):
  order = f"{i}. {instruction}"
  motion = get_motion(order, ret_type="forward, right, quarter turns to the right")
  forward, right, turns = motion
  x, y = x + forward * dx + right * dy, y + forward * dy - right * dx
  for turn in range(turns):
    dx, dy = dy, -dx
answer = "Yes" if (x, y) == (0, 0) else "No"
