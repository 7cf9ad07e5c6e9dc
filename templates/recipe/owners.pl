# What owners.py does, for images with Perl and without Python. Only files and folders have these notes, links have none.
use strict;

my ($root, $machine) = @ARGV;
my %lgetxattr = (x86_64 => 192, aarch64 => 9, ppc64le => 213);
my $call = $lgetxattr{$machine} or die "no number of lgetxattr for $machine\n";
my $here = (lstat $root)[0];

sub give_back {
    my ($path, $mode) = @_;
    my ($name, $data) = ('user.rootlesscontainers', "\0" x 64);
    my $size = syscall $call, $path, $name, $data, 64;
    return if $size < 1;
    my @bytes = unpack 'C*', substr $data, 0, $size;
    my %found = (1 => 0, 2 => 0);
    while (@bytes) {
        my ($field, $value, $shift, $byte) = (shift(@bytes) >> 3, 0, 0, 128);
        while ($byte > 127) {
            $byte = shift @bytes;
            $value |= ($byte & 127) << $shift;
            $shift += 7;
        }
        $found{$field} = $value == 2**32 - 1 ? -1 : $value;
    }
    chown $found{1}, $found{2}, $path or die "$path: $!\n";
    chmod $mode & 07777, $path or die "$path: $!\n";
}

my @folders = ($root);
while (defined(my $folder = pop @folders)) {
    opendir my $handle, $folder or next;
    for my $name (readdir $handle) {
        next if $name eq '.' or $name eq '..';
        my $path = "$folder/$name";
        my ($device, $mode) = (lstat $path)[0, 2];
        next if $device != $here or -l _;
        give_back($path, $mode) if -f _ or -d _;
        push @folders, $path if -d _;
    }
}
