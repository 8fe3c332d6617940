"""The categories of Amazon Reviews 2023, as rows of the table in `known`.

Users, items and ratings are rounded as on the data set's page,
https://amazon-reviews-2023.github.io/data_processing/0core.html; they are None for the categories
that were missing from the copy of this page. The SHA-256 of the files are those in
ISG-Siegen/OmniRec, src/omnirec/data_loaders/amazon2023.py.
"""

# Category, users, items and ratings; below, the SHA-256 of the file.
_TABLE = """
All_Beauty                   632.0K 112.6K 693.9K
    54b894e68ad965aa73cdb80d8695c1ed37679c46f38b6f97b21ab0fb585aab24
Amazon_Fashion               2.0M   825.9K 2.5M
    7d08f3ad3ec331eb95cabf5a85c8e65f82f958429a17131e6d391f54532c0310
Appliances                   1.8M   94.3K  2.1M
    0096701a2521a5fc71c5cfca11e953b0eb48a94a1b6ee4be65cb680c1fd56976
Arts_Crafts_and_Sewing       4.6M   801.3K 8.8M
    05ca786b3f99269ba659d71891b55d23e37bd74ab6cec0b53214ccb656308bb3
Automotive                   8.0M   2.0M   19.7M
    9dda260d1d2cb91d0f967d0b4bfa0a09fda2904432023234569e45a6a30c48d3
Baby_Products                3.4M   217.7K 6.0M
    e2a8d0498afed767ee2615db7fac549559d82490b1a73c7241b84b5e9e8c279e
Beauty_and_Personal_Care     11.3M  1.0M   23.6M
    dd89a914e8c71d811c49a7e8fbdfc251c08bffb461b9544275e94018cb17f741
Books                        10.3M  4.4M   29.1M
    752e144c1d3804619711a6b21bd68a5505825064723bfcd5008ac26067abe04b
CDs_and_Vinyl                1.8M   701.7K 4.8M
    1bade4e428efcffb549b6b7cb1f62a8cde9644e19a981a210b11a4c9c1561e75
Cell_Phones_and_Accessories  11.6M  1.3M   20.6M
    1f6df616b0ae463c039f68c7082daec52d2c713b33adb57b85db3430a8e2373a
Clothing_Shoes_and_Jewelry   22.6M  7.2M   65.2M
    ee93396e811c03d077290b78e323228c58814a034e3e98d0339e5314d7f7a9a7
Digital_Music                101.0K 70.5K  128.8K
    dbd5ddd5398d0eb9cfe224c9cc60470ccfd9c55e76fc82653dd3f44f6796c2a1
Electronics                  18.3M  1.6M   43.4M
    2ac3508c5d0ee55ed9fdc833629f751e0f0120b9a8cb30867c8c14b87911c170
Gift_Cards                   132.7K 1.1K   149.9K
    abfd9636afc5cdc1f46082ac1f9661b7c617cbd9c8a75652ad6a567173a14807
Grocery_and_Gourmet_Food     7.0M   603.2K 14.1M
    4cb2da7f57dfe210eecf348ee16514d11460022f0ce4ed141aa66e3eb5410135
Handmade_Products            586.6K 164.7K 656.1K
    b024e3e4cb1b1f4c9cfbb44a506ea42f8b8430ee8caf0dfa69fef52b69ece408
Health_and_Household         12.5M  797.4K 25.3M
    0a8982f9915bd18ea61caf4341db95c3fe1478abee907e6a61fec838374d2dca
Health_and_Personal_Care     461.7K 60.3K  488.2K
    5516d99b9747abff99003a7e1518833c2d64b10196201b6e6e90673bee15964d
Home_and_Kitchen             23.2M  3.7M   66.6M
    9be4e2dc8b3dc513c02521644b2ae55f722b2941767e539dcfe518f6bdd4f70b
Industrial_and_Scientific    3.4M   427.5K 5.1M
    97aea590deb258f634caea04b63f038dceb5990bbc92cac87ce2a985f0f91595
Kindle_Store                 5.6M   1.6M   25.3M
    ff546c451edfb403d10099912b816b11600e689a599621167d4847331fdc0a0d
Magazine_Subscriptions       60.1K  3.4K   70.9K
    4892619d97f810331c2a278176b2be616de10403be59e48efbe65c5c1e7904d2
Movies_and_TV                6.5M   747.8K 17.2M
    aa927ae5a4fc5262bfa6152ce522349f828760035242fd7e02b1dc139e867156
Musical_Instruments          1.8M   213.6K 3.0M
    042648a89f479aaa2af4664dcb49966dbaf07bd5ebab6957799f5fb4c5efa2e0
Office_Products              7.6M   710.4K 12.7M
    f91b5cfb6ed5ff52afe3e2f3ecc7918cbd8745b3241a8fc61011c3a41f23920b
Patio_Lawn_and_Garden        8.6M   851.7K 16.3M
    a1ea496e71e488c6b12823d479ed6375384b82f6794b38e66d12a5dcd20c392d
Pet_Supplies                 7.8M   492.7K 16.6M
    cfc55406a1fbb507e4adfa18472e60a5de52fab3dd76f97fea25d30da1288003
Software                     2.6M   89.2K  4.8M
    11687bdbedc0bfd9bf86368465dcab40f2450d1ea8eabd3c830ba8b339edd9c0
Sports_and_Outdoors          10.3M  1.6M   19.3M
    110617511c7303ca34d157b7d62fd20a02e412c3639b4c6e307a951fadf0414c
Subscription_Boxes           15.2K  641    16.0K
    fb867ee253db3987ab3ceaf371da506df794b08c98cf9a99e9718d9e4e818188
Tools_and_Home_Improvement   12.2M  1.5M   26.6M
    5845ac062a2c165d540badac13f00a8cb8cdaa30deb670a9b41db19d92c6bd1d
Toys_and_Games               -      -      -
    170fc8a18797c6091cf1b07bb3d97c13c94bfa030cf76c430bb8cac0dfb47a9f
Video_Games                  -      -      -
    30692f9806e33a7b5d8b599b73d7ca33dbfefb0abdfc1578052a101f2e64b3cd
Unknown                      -      -      -
    864c1dfa8b215a9a09fe0d17c7abc15f2da97078bc9acc7911783f2447016e10
"""


def _rows() -> list[tuple[str, str | None, str | None, str | None, str]]:
    rows = []
    lines = _TABLE.strip().splitlines()
    for facts, checksum in zip(lines[0::2], lines[1::2], strict=True):
        category, *counts = facts.split()
        users, items, ratings = (None if count == "-" else count for count in counts)
        rows.append((category, users, items, ratings, checksum.strip()))
    return rows


CATEGORIES = _rows()  # category, users, items, ratings, SHA-256
