# Gives the files of the base image back to their owners. Without root rights Apptainer unpacks everything as root's and
# writes the owner beside it: https://github.com/rootless-containers/proto, two numbers, 2**32 - 1 for "as it is".
import os
import stat
import sys


def numbers(data):
    found, at = {1: 0, 2: 0}, 0
    while at < len(data):
        field, value, shift, at = data[at] >> 3, 0, 0, at + 1
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                break
        found[field] = -1 if value == 2**32 - 1 else value
    return found[1], found[2]


def give_back(path):
    try:
        data = os.getxattr(path, "user.rootlesscontainers", follow_symlinks=False)
    except OSError:
        return
    mode = os.lstat(path).st_mode
    os.chown(path, *numbers(data), follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(path, stat.S_IMODE(mode))


root = sys.argv[1]
here = os.lstat(root).st_dev
for folder, folders, files in os.walk(root):
    folders[:] = [name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == here]
    for name in folders + files:
        give_back(os.path.join(folder, name))
