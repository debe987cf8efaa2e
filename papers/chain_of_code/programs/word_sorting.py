words = question.split("List: ")[1].split()
answer = " ".join(sorted(words))
