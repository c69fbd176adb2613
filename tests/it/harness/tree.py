"""A migration tree on disk."""
import os


class Tree:
    def __init__(self, root):
        self.root = str(root)
        os.makedirs(self.root, exist_ok=True)

    def write(self, path, text):
        """`path` is "{backend}/{connection}/{file}". The file appears whole, as an editor would do it."""
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full + "~", "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.rename(full + "~", full)
        return full

    def remove(self, path):
        os.unlink(os.path.join(self.root, path))
