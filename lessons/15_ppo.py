from behind.lesson_list import MERGED

print(MERGED["15"])
