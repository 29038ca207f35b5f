/* Runs a fuzz target over the files and folders named on its command line: how the corpora run as unit tests, without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t played;

static void play_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    uint8_t *data = malloc((size_t)size + 1); /* exactly sized for ASan, +1 only so that malloc(0) is never asked for */
    if (!data || fread(data, 1, (size_t)size, f) != (size_t)size) exit(1);
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    played++;
}

static void play(const char *path) {
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        DIR *dir = opendir(path);
        if (!dir) exit(1);
        for (struct dirent *e; (e = readdir(dir));) {
            if (e->d_name[0] == '.') continue;
            char child[4096];
            if (snprintf(child, sizeof(child), "%s/%s", path, e->d_name) >= (int)sizeof(child)) exit(1);
            play(child);
        }
        closedir(dir);
        return;
    }
    play_file(path);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) play(argv[i]);
    printf("%zu inputs played\n", played);
    return 0;
}
