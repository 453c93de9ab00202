#!/bin/sh
# Build the containers where no image registry can be reached, on a Debian base made by mmdebstrap,
# and try each: as a user, without network, with a read-only root.
#   sudo sh examples/container/build_offline.sh [onnx openvino]    (apt-get install buildah mmdebstrap)
# Takes Debian's and Python's package mirrors as this machine has them configured.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

if ! buildah inspect localhost/edge-tsm-base >/dev/null 2>&1; then
    mmdebstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base.tar"
    base=$(buildah from scratch)
    buildah add -q "$base" "$work/base.tar" / >/dev/null
    buildah commit -q "$base" localhost/edge-tsm-base >/dev/null
    buildah rm "$base" >/dev/null
fi

# The mirror of Python packages and its certificate, for the build alone.
mirror=
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ -f "$file" ] && mirror="$mirror --volume $file:$file:ro"
done
# As `podman run --read-only --network none`, which needs more than this isolation gives.
inside() {
    unshare --mount --net sh -euc '
        root=$1 && shift
        mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
        mount -t tmpfs tmpfs "$root/tmp"
        mount -t tmpfs -o uid=10001,gid=10001,mode=0700 tmpfs "$root/data"
        mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
        exec chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups \
            env -i PATH=/opt/edge-tsm/bin:/usr/bin:/bin HOME=/data XDG_CACHE_HOME=/data/cache "$@"
    ' sh "$mount" "$@"
}

for engine in ${*:-onnx openvino}; do
    # shellcheck disable=SC2086 # several words
    buildah build -q --format docker --build-arg BASE=localhost/edge-tsm-base --target "$engine" $mirror \
        -f "$root/examples/container/Containerfile" -t "localhost/edge-tsm:$engine" "$root" >/dev/null
    box=$(buildah from --pull-never "localhost/edge-tsm:$engine")
    mount=$(buildah mount "$box")
    echo "== $engine, user $(inside id -u)"
    inside edge-tsm doctor
    inside edge-tsm demo --clips 3
    bundle=$(inside python3 -c 'from edge_tsm.demo.bundles import bundle; print(bundle())')
    inside edge-tsm verify "$bundle"
    # What HEALTHCHECK asks, of a run on a generated picture; this needs the loopback.
    buildah run --user 10001:10001 "$box" -- sh -c "
        edge-tsm run $bundle --camera test=test:// --metrics 127.0.0.1:9109 --duration 20 >/dev/null &
        edge-tsm health --wait 15 && kill -TERM \$! && wait"
    buildah inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Healthcheck}}' \
        "localhost/edge-tsm:$engine"
    for part in "" /opt/edge-tsm; do
        echo "$(du -sm --apparent-size "$mount$part" | cut -f1) MB in ${part:-all}"
    done
    buildah rm "$box" >/dev/null
done
